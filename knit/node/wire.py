"""A connection that cannot be made to last: it has a deadline, and a number of bytes that the other side may send."""

from __future__ import annotations

import errno
import socket
import time

from knit.core.text import clean
from knit.errors import Transient

MOST = 256 * 1024
"""Bytes. A chain of 16 certificates with the largest keys has some 50,000."""

LONGEST_LINE = 4096
SHOWN = 200
"""Characters of what a server said, in the sentence that quotes it."""


def said(text: bytes) -> str:
    """A server's words, fit to be quoted."""
    return clean(text.decode("utf-8", "replace"), SHOWN) or "nothing"


class Wire:
    """One TCP connection. Whatever is wrong is a Transient that says it in one sentence, with the address first."""

    def __init__(self, host: str, port: int, *, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._buffer = bytearray()
        self._received = 0
        self.address = f"{host}:{port}"
        self._end = self._connected(host, port)
        self.address = _written(self._end.getpeername())

    @property
    def ours(self) -> str:
        """This end's address, without the port."""
        return str(self._end.getsockname()[0])

    def close(self) -> None:
        """Hang up."""
        self._end.close()

    def fault(self, what: str) -> Transient:
        """The error that says this of the server."""
        return Transient(f"{self.address} {what}")

    def send(self, data: bytes) -> None:
        """Send all of it."""
        try:
            self._end.settimeout(self._left())
            self._end.sendall(data)
        except OSError as error:
            raise self._broken(error) from None

    def receive(self) -> bytes:
        """Whatever has come, at least one byte of it."""
        if not self._buffer:
            self._more()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def exactly(self, count: int) -> bytes:
        """The next bytes."""
        while len(self._buffer) < count:
            self._more()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def line(self) -> bytes:
        """The next line without its end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LONGEST_LINE:
                raise self.fault(f"sends a line of more than {LONGEST_LINE} bytes")
            self._more()
        return self.exactly(end + 1).rstrip(b"\r\n")

    def expect_silence(self) -> None:
        """What came before TLS must not be taken for a part of it (CVE-2011-0411)."""
        if self._buffer:
            raise self.fault("goes on in plain text after it has agreed to TLS")

    def _more(self) -> None:
        try:
            self._end.settimeout(self._left())
            data = self._end.recv(16384)
        except OSError as error:
            raise self._broken(error) from None
        if not data:
            raise self.fault("closed the connection before it showed a certificate")
        self._received += len(data)
        if self._received > MOST:
            raise self.fault(f"sent more than {MOST} bytes and no certificate")
        self._buffer += data

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _broken(self, error: OSError) -> Transient:
        if isinstance(error, TimeoutError):
            return self.fault(f"showed no certificate within {self._seconds:g}s")
        if isinstance(error, ConnectionError):
            return self.fault("broke off the connection before it showed a certificate")
        return self.fault(f"cannot be talked to: {_reason(error)}")

    def _connected(self, host: str, port: int) -> socket.socket:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self.fault(f"cannot be resolved: {_reason(error)}") from None
        trouble = Transient("")
        for number, (family, kind, protocol, _, address) in enumerate(found):
            end = socket.socket(family, kind, protocol)
            try:
                # An address where nobody answers leaves time for those after it.
                end.settimeout(self._left() / (len(found) - number))
                end.connect(address)
            except OSError as error:
                end.close()
                trouble = self.fault(self._unreachable(error))
            else:
                return end
        raise trouble

    def _unreachable(self, error: OSError) -> str:
        if error.errno == errno.ECONNREFUSED:
            return "refuses connections"
        if isinstance(error, TimeoutError):
            return f"cannot be connected to within {self._seconds:g}s"
        return f"cannot be connected to: {_reason(error)}"


def _reason(error: OSError | UnicodeError) -> str:
    return "that is no host name" if isinstance(error, UnicodeError) else error.strerror or type(error).__name__


def _written(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
