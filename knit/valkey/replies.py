"""What a server may answer (RESP 2), read with a bound for every piece.

Whoever asks says which kind of answer there can be and how large it can be. Anything else is `Nonsense`, whatever it
is, and is found at the first byte that does not fit: nothing is kept of what was not asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LINE = 4096
"""Bytes of a line at most. Only errors come near it."""

PARTS = 8
"""Parts of a push message at most; real ones have two or three."""

_COUNT = re.compile(rb"(-1|\d{1,10})", re.ASCII)
_INTEGER = re.compile(rb"-?\d{1,18}", re.ASCII)
_CODE = re.compile(rb"[A-Z]{2,32}(?= |$)", re.ASCII)


class Nonsense(Exception):
    """An answer of another kind or size than the question can have; the connection is of no more use."""


OUT_OF_RANGE = "DB index is out of range"
NO_DATABASE = "NODATABASE"
"""Our code for the one answer that has none of its own and that a person can do something about."""


class ServerError(Exception):
    """An error reply. Only its code is kept, since the text may quote the command."""

    def __init__(self, line: bytes) -> None:
        found = _CODE.match(line)
        self.code = NO_DATABASE if OUT_OF_RANGE.encode() in line else found.group().decode() if found else "ERR"
        super().__init__(self.code)


class Incoming:
    """The bytes that a server sends. `receive` waits for more of them, and raises when there are none."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes that have come and were not read."""
        return len(self._buffer)

    def add(self, received: bytes) -> None:
        """Bytes that have come by another way than `receive`."""
        self._buffer += received

    def line(self) -> bytes:
        """Up to the next CRLF."""
        searched = 0
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            if len(self._buffer) > LINE:
                raise Nonsense
            searched = max(0, len(self._buffer) - 1)
            self._buffer += self._receive()
        if end > LINE:
            raise Nonsense
        return self._take(end)

    def block(self, size: int) -> bytes:
        """Exactly so many bytes, and the CRLF after them."""
        while len(self._buffer) < size + 2:
            self._buffer += self._receive()
        if self._buffer[size : size + 2] != b"\r\n":
            raise Nonsense
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[: size + 2]
        return taken


def text(incoming: Incoming, longest: int) -> bytes | None:
    """A text of at most so many bytes, or None where there is none. Raises ServerError for an error reply."""
    size = _count(incoming, b"$", longest)
    return None if size is None else incoming.block(size)


def texts(incoming: Incoming, *, most: int, total: int) -> set[bytes]:
    """At most `most` texts that have `total` bytes together. Raises ServerError for an error reply."""
    found = set()
    for _ in range(_count(incoming, b"*", most) or 0):
        one = text(incoming, total)
        if one is None:
            raise Nonsense
        total -= len(one)
        found.add(one)
    return found


def status(incoming: Incoming) -> None:
    """`+OK` or its like. Raises ServerError for an error reply."""
    _expect(incoming.line(), b"+")


def push(incoming: Incoming, longest: int) -> list[bytes]:
    """A message on a subscribed connection, by its parts. Raises ServerError for an error reply."""
    return [_part(incoming, longest) for _ in range(_count(incoming, b"*", PARTS) or 0)]


def _part(incoming: Incoming, longest: int) -> bytes:
    line = incoming.line()
    return line[1:] if line[:1] == b":" else incoming.block(_number(line, b"$", longest) or 0)


def _count(incoming: Incoming, kind: bytes, most: int) -> int | None:
    return _number(incoming.line(), kind, most)


def _number(line: bytes, kind: bytes, most: int) -> int | None:
    digits = _expect(line, kind)
    if not _COUNT.fullmatch(digits) or int(digits) > most:
        raise Nonsense
    return None if digits == b"-1" else int(digits)


def _expect(line: bytes, kind: bytes) -> bytes:
    if line[:1] == b"-":
        raise ServerError(line[1:])
    if line[:1] != kind:
        raise Nonsense
    return line[1:]


def page(incoming: Incoming, *, most: int, total: int) -> tuple[bytes, set[bytes]]:
    """A page of SCAN: where the next one begins, and its keys. Raises ServerError for an error reply."""
    if _count(incoming, b"*", 2) != 2:
        raise Nonsense
    return text(incoming, 20) or b"0", texts(incoming, most=most, total=total)


def number(incoming: Incoming) -> int:
    """`:` and a number of at most 18 digits. Raises ServerError for an error reply."""
    digits = _expect(incoming.line(), b":")
    if not _INTEGER.fullmatch(digits):
        raise Nonsense
    return int(digits)
