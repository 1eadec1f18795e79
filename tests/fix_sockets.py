"""No test talks to the outside, and a unit test to nobody: kept by an audit hook, so no library can go round it."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"
OUTWARD = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class SocketBlockedError(Exception):
    """A test reached for a socket that its tier does not allow."""


class _Guard:
    """What the hook looks at: hooks cannot be removed, so the state can be."""

    unit = False


def _is_outside(address: object) -> bool:
    if not isinstance(address, tuple):
        return False  # A unix socket's path.
    try:
        return not ipaddress.ip_address(str(address[0])).is_loopback
    except ValueError:
        return str(address[0]) != "localhost"


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not event.startswith("socket."):
        return
    if _Guard.unit and event == "socket.__new__":
        message = "unit tests open no sockets: move the test to tests/integration"
        raise SocketBlockedError(message)
    if event in OUTWARD and _is_outside(arguments[1]):
        message = f"tests talk to loopback only, not to {arguments[1]}"
        raise SocketBlockedError(message)


sys.addaudithook(_hook)


@pytest.fixture(autouse=True)
def _socket_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    _Guard.unit = UNIT in request.path.parents
    yield
    _Guard.unit = False
