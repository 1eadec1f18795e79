"""How a node's connection to its server begins. redis-py is not asked: it would be a third of a node's memory."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from knit.errors import CredentialsRejected, KnitError, Unreachable
from knit.valkey.replies import Nonsense, ServerError
from knit.valkey.site import TIMEOUT, Site

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between questions, and questions without an answer until a connection is given up."""

_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class _Unusable(Exception):
    """A file that the URL names is not what it should be."""


_NO = {"0", "F", "FALSE", "N", "NO"}
"""redis-py's, in capital letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server, and how to log in there. `options` are as redis-py calls them."""

    site: Site
    options: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, site: Site) -> Endpoint:
        """The same that a client of redis-py would take from the URL."""
        return cls(site=site, options={**site.server.words, **site.server.arguments})

    def impatient(self, seconds: float) -> Endpoint:
        """The same, for whoever waits no longer than this, whatever the URL says."""
        return replace(self, options={**self.options, "socket_timeout": min(self.timeout, seconds)})

    @property
    def timeout(self) -> float:
        """Seconds to connect, and to wait for an answer to begin."""
        return float(self.options.get("socket_timeout") or TIMEOUT)

    def greeting(self) -> list[Sequence[str]]:
        """What is said first. The server must consent to all but the last."""
        user, password = self.options.get("username"), self.options.get("password")
        said: list[Sequence[str]] = []
        if password:
            said.append(("AUTH", user, password) if user else ("AUTH", password))
        if database := int(self.options.get("db") or 0):
            said.append(("SELECT", str(database)))
        return [*said, ("CLIENT", "SETINFO", "LIB-NAME", self.site.name)]

    def dial(self, seconds: float) -> socket.socket:
        """A new connection, within these seconds. Raises OSError."""
        if path := self.options.get("path"):
            return _connected(socket.AF_UNIX, path, seconds)
        until = time.monotonic() + seconds
        host = str(self.options.get("host", "localhost"))
        found = socket.getaddrinfo(host, int(self.options.get("port", 6379)), type=socket.SOCK_STREAM)
        plain = _first([(family, address) for family, _, _, _, address in found], until)
        return self._secured(plain, host, until) if self.site.server.secure else plain

    def _secured(self, plain: socket.socket, host: str, until: float) -> socket.socket:
        with ExitStack() as undo:
            undo.enter_context(closing(plain))
            # Read anew for each connection, since the files may have been renewed.
            context = _context(self.options)
            plain.settimeout(_left(until))
            secured = context.wrap_socket(plain, server_hostname=host)
            undo.pop_all()
        return secured

    @contextmanager
    def named_failures(self) -> Iterator[None]:
        """What goes wrong with a connection comes out as Unreachable, or as what the server's error code means."""
        try:
            yield
        except (OSError, UnicodeError, Nonsense, ServerError, _Unusable) as error:
            raise self.failure(error) from None

    def failure(self, error: Exception) -> KnitError:
        """The knit error for one that has to do with a connection."""
        where = f"Valkey at {self.site.where}"
        if isinstance(error, ServerError):
            return self.site.answered(error.code)
        if isinstance(error, Nonsense):
            return Unreachable(f"{where} gives answers that no Valkey server gives, or far too large ones")
        if isinstance(error, _Unusable):
            return Unreachable(f"{where} was not asked: {error}")
        if isinstance(error, ssl.SSLCertVerificationError):
            return CredentialsRejected(f"{where} has a certificate that is not trusted: {error.verify_message}")
        return Unreachable(f"{where} {_trouble(error)}")


def _trouble(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "has a host name that cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return f"cannot be reached over TLS ({error.reason or 'broken off'})"
    return f"cannot be reached ({getattr(error, 'strerror', None) or 'it closed the connection'})"


def _first(found: Sequence[tuple[int, Any]], until: float) -> socket.socket:
    """The first address that answers; silent ones share the time equally."""
    trouble: OSError = TimeoutError()
    for number, (family, address) in enumerate(found):
        try:
            return _connected(family, address, _left(until) / (len(found) - number))
        except OSError as error:
            trouble = error
    raise trouble


def _connected(family: int, address: Any, seconds: float) -> socket.socket:
    with ExitStack() as undo:
        opened = undo.enter_context(closing(socket.socket(family, socket.SOCK_STREAM)))
        opened.settimeout(seconds)
        opened.connect(address)
        if family != socket.AF_UNIX:
            _tune(opened)
        undo.pop_all()
    return opened


def _tune(opened: socket.socket) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, number in _KEEPALIVE.items():
        with suppress(AttributeError):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), number)


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """What is wrong with files of ours is not told as the server's fault."""
    try:
        yield
    except OSError as error:
        cause = "no such PEM in them" if isinstance(error, ssl.SSLError) else error.strerror
        raise _Unusable(f"the {what} of its URL cannot be used ({cause})") from None


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    mode = _VERIFY[str(options.get("ssl_cert_reqs", "required")).lower()]
    named = str(options.get("ssl_check_hostname", True)).upper() not in _NO
    context.check_hostname = named and mode != ssl.CERT_NONE
    context.verify_mode = mode
    if options.get("ssl_certfile") or options.get("ssl_keyfile"):
        with _named("certificate and key in ssl_certfile and ssl_keyfile"):
            context.load_cert_chain(options.get("ssl_certfile", ""), options.get("ssl_keyfile"))
    roots = [options.get(f"ssl_ca_{name}") for name in ("certs", "path")]
    if any(roots):
        with _named("roots in ssl_ca_certs or ssl_ca_path"):
            context.load_verify_locations(*roots)
    return context
