"""How connections to a CA begin and end."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from knit.issuers.acme.dial import MOST_ADDRESSES, reach
from knit.issuers.acme.hosts import Hosts
from knit.issuers.acme.network import Network
from knit.issuers.acme.origin import Origin
from knit.issuers.acme.transport import Reply


@pytest.mark.parametrize(("seconds", "tried"), [(30.0, MOST_ADDRESSES), (-1.0, 1)])
def test_addresses_are_tried_one_after_the_other_while_there_is_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, tried: int
) -> None:
    asked = []

    def refusing(address: tuple[str, int], **_: object) -> socket.socket:
        asked.append(address[0])
        raise ConnectionRefusedError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{n}", 443)) for n in range(9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", refusing)
    with pytest.raises(ConnectionRefusedError):
        reach("ca.example", 443, lambda _: None, until=time.monotonic() + seconds)
    assert asked == [f"192.0.2.{n}" for n in range(tried)]


class Fake:
    """In the place of a connection."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.is_closed = False

    def exchange(self, *_: object) -> Reply:
        return Reply(200, {}, b"")

    def close(self) -> None:
        self.is_closed = True


def test_connections_to_all_hosts_of_a_ca_are_kept_and_end_together() -> None:
    opened: list[Fake] = []

    def connect(origin: Origin) -> Any:
        opened.append(Fake(origin))
        return opened[-1]

    network = Network(connect, Hosts(Origin("ca.example", 443)), lambda: datetime.now(UTC), time.sleep)
    for host in ("ca.example", "orders.example", "orders.example", "ari.example"):
        network.get(f"https://{host}/x")
    assert [one.origin.host for one in opened] == ["ca.example", "orders.example", "ari.example"]
    network.close()
    assert all(one.is_closed for one in opened)
