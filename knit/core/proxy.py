"""Through which HTTP proxy a host is reached, if through any: HTTPS_PROXY and NO_PROXY, read as Go reads them."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from dataclasses import dataclass, field

from knit.core import address

HTTP_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy; `credentials` are ready for its Proxy-Authorization header (RFC 9110 section 11.7.2)."""

    host: str
    port: int
    credentials: str | None = field(repr=False, default=None)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """`through`: the proxy, if there is one. `spared`: what is reached without it, as in NO_PROXY."""

    through: Proxy | None = None
    spared: tuple[str, ...] = ()

    def of(self, host: str, port: int) -> Proxy | None:
        """The proxy for this host. This machine itself is never reached through one."""
        if self.through is None or _is_here(host) or any(_spares(word, host, port) for word in self.spared):
            return None
        return self.through


def parse(proxy: str, spared: str) -> Proxies:
    """From the texts of HTTPS_PROXY and NO_PROXY, either of them empty. Raises ValueError, which quotes nothing."""
    words = tuple(word.strip().lower() for word in spared.split(",") if word.strip())
    if not proxy:
        return Proxies(spared=words)
    found = address.parse(proxy if "://" in proxy else f"http://{proxy}")
    (name, port), *more = found.hosts
    if found.scheme != "http" or not name or more:
        raise ValueError("only http://[user:password@]host[:port] is served")
    credentials = None
    if found.user is not None:
        credentials = "Basic " + b64encode(f"{found.user}:{found.password or ''}".encode()).decode()
    return Proxies(through=Proxy(host=name, port=int(port or HTTP_PORT), credentials=credentials), spared=words)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _spares(word: str, host: str, port: int) -> bool:
    """Whether this word of NO_PROXY is `*`, a network or address, or a domain that holds the host."""
    if word == "*":
        return True
    host = host.lower().rstrip(".")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(word, strict=False)
    except ValueError:
        pass
    name, colon, number = word.rpartition(":")
    if colon and number.isdigit() and name.count(":") != 1:
        if int(number) != port:
            return False
        word = name.strip("[]")
    bare = word.removeprefix("*").removeprefix(".")
    return host.endswith(f".{bare}") or (host == bare and not word.startswith((".", "*")))
