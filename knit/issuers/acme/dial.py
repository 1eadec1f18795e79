"""How a connection to the CA begins: at one of its addresses, or in a tunnel through a proxy (RFC 9110 section 9.3.6).

Everything raises OSError.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from knit.core.proxy import Proxy
from knit.ports.process import Sleep

CONNECT_SECONDS = 4.0
MOST_ADDRESSES = 4
TUNNEL_SECONDS = 10.0
LARGEST_HEAD = 16 * 1024
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")

Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""One address, as the system's resolver gives it."""


def reach(host: str, port: int, sleep: Sleep, *, until: float) -> socket.socket:
    """Connected to the first address that answers, of a few: a name may have any number."""
    found = _by_turns(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))[:MOST_ADDRESSES]
    for place, (*_, address) in enumerate(found, start=1):
        try:
            return socket.create_connection((str(address[0]), int(address[1])), timeout=CONNECT_SECONDS)
        except OSError:
            if place == len(found) or time.monotonic() > until:
                raise
            sleep(0)
    message = "its host has no address"
    raise OSError(message)


def through(proxy: Proxy, target: str, sleep: Sleep, *, until: float) -> socket.socket:
    """Connected to `target` (host:port) by the proxy, which looks the host up itself."""
    try:
        opened = reach(proxy.host, proxy.port, sleep, until=until)
    except OSError as error:
        raise OSError(errno.EHOSTUNREACH, f"the proxy at {proxy}: {error.strerror or 'timed out'}") from None
    try:
        opened.settimeout(TUNNEL_SECONDS)
        login = f"Proxy-Authorization: {proxy.credentials}\r\n" if proxy.credentials else ""
        opened.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode("ascii"))
        _check(_head(opened), proxy)
    except BaseException:
        opened.close()
        raise
    return opened


def _head(opened: socket.socket) -> bytes:
    """The proxy's whole answer: what is in the tunnel comes only once we have spoken into it."""
    until, head = time.monotonic() + TUNNEL_SECONDS, b""
    while not head.endswith(b"\r\n\r\n"):
        more = opened.recv(1024)
        head += more
        if not more or len(head) > LARGEST_HEAD or time.monotonic() > until:
            break
    return head


def _check(head: bytes, proxy: Proxy) -> None:
    match = STATUS.match(head)
    if match is None or not head.endswith(b"\r\n\r\n"):
        raise OSError(errno.EPROTO, f"the proxy at {proxy} gives no answer that makes sense")
    if not match[1].startswith(b"2"):
        wants = ": it wants another user and password in HTTPS_PROXY" if match[1] == b"407" else ""
        raise OSError(errno.EACCES, f"the proxy at {proxy} does not let us through (HTTP {match[1].decode()}{wants})")


def _by_turns(found: Sequence[Found]) -> list[Found]:
    """One address of each family after the other (RFC 8305 section 4): one of the two may lead nowhere from here."""
    families = [[one for one in found if one[0] == family] for family in dict.fromkeys(one[0] for one in found)]
    return [one for turn in zip_longest(*families) for one in turn if one is not None]
