"""Name servers and resolvers: their addresses, and which of them count. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a DNS server listens: an IP address and a port."""

    host: str
    port: int = 53

    @classmethod
    def parse(cls, text: str) -> Address:
        """`9.9.9.9`, `9.9.9.9:5353`, `[2620:fe::fe]:53` or `2620:fe::fe`; ValueError otherwise."""
        host, port = text, "53"
        if text.startswith("["):
            host, _, port = text[1:].partition("]")
            port = port.removeprefix(":") or "53"
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        return cls(str(ipaddress.ip_address(host)), int(port))

    @property
    def is_v6(self) -> bool:
        """Whether it is an IPv6 address."""
        return ":" in self.host

    @property
    def is_private(self) -> bool:
        """Whether it means something else in every network (RFC 1918, RFC 4193), or is this machine."""
        return ipaddress.ip_address(self.host).is_private

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.is_v6 and self.port != 53 else self.host
        return host if self.port == 53 else f"{host}:{self.port}"


def host_and_port(text: str) -> tuple[str, int]:
    """Host and port of a server, as `Address.parse`, but the host may be a name."""
    try:
        address = Address.parse(text)
    except ValueError:
        host, _, port = text.partition(":")
        return host, int(port or "53")
    return address.host, address.port


@dataclass(frozen=True, slots=True)
class Server:
    """One address of one name server."""

    name: str
    address: Address

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


NameServers = dict[str, tuple[Server, ...]]
"""The addresses of each name server of a zone, by its name; none for a name that has none."""


BLOCKED = "if this machine may not ask other DNS servers (port 53), set KNIT_DNS_PROPAGATION_WAIT to wait a fixed time"


NO_ROUTE = (
    "this machine has no way to them (only IPv6 addresses, and no IPv6 here?): set KNIT_DNS_PROPAGATION_WAIT to wait "
    "a fixed time"
)


class Heard(Protocol):
    """What `with_a_path` must know of a server."""

    @property
    def routed(self) -> bool: ...
    @property
    def answered(self) -> bool: ...


H = TypeVar("H", bound=Heard)


def with_a_path(looks: Mapping[Server, H]) -> dict[Server, H]:
    """Leave out addresses without a route, and a whole address family when none of it answers but the other does.

    Many containers have an IPv6 route that leads nowhere.
    """
    routed = {server: seen for server, seen in looks.items() if seen.routed}
    alive = {server.address.is_v6 for server, seen in routed.items() if seen.answered}
    return {server: seen for server, seen in routed.items() if server.address.is_v6 in alive}


def unreachable(seen: Iterable[Heard]) -> str:
    """What to set when no server has answered."""
    return BLOCKED if any(each.routed for each in seen) else NO_ROUTE
