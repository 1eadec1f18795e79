"""A node's connection to its server: nothing that a server does can hold it for long or make it take much.

redis-py takes whatever comes, of any kind, size and slowness, and a node must go on whatever its server is.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from knit.valkey.dial import Endpoint
from knit.valkey.replies import Incoming, ServerError, status

PACE = 64 * 1024
"""Bytes a second that an answer must come with, once its first seconds are over."""

LONGEST = 600.0
"""Seconds that nothing may take, however much has come."""

Command = Sequence[str | bytes]
T = TypeVar("T")


class Patience:
    """Time for waiting: some seconds, and more for all that comes, so that a slow line is no fault and a drip is."""

    def __init__(self, seconds: float) -> None:
        self._allowed = seconds
        self._spent = 0.0

    def left(self) -> float:
        """Seconds that are left; 0 or less when they are over."""
        return min(self._allowed, LONGEST) - self._spent

    def account(self, seconds: float, received: int) -> None:
        """These seconds were spent until so many more bytes had come: bytes give time, and seconds take it."""
        self._spent += seconds
        self._allowed += received / PACE


class Wire:
    """One connection, opened when it is needed. Not for several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._socket: socket.socket | None = None
        self._incoming = Incoming(self._receive)
        self._patience: tuple[Patience, ...] = ()
        self._heard = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, which the server may have lost."""
        return self._socket is not None

    def ask(
        self, commands: Sequence[Command], read: Callable[[Incoming], T], patience: Patience | None = None
    ) -> list[T | ServerError]:
        """One answer for each command; an error reply stands for itself.

        `patience` is for more than this one question. Raises Unreachable, and what a refused login raises. A
        connection that has lain idle and says nothing is opened anew, once: middleboxes forget idle ones.
        """
        was_open = self.is_open
        with self._endpoint.named_failures():
            try:
                return self._exchange(commands, read, patience)
            except OSError:
                if not was_open or self._heard:
                    raise
            return self._exchange(commands, read, patience)

    def say(self, command: Command) -> None:
        """Send, and leave the answer for `hear`. Raises as `ask` does."""
        with self._endpoint.named_failures(), self._bounded():
            self._open()
            self._send([command])

    def hear(
        self, read: Callable[[Incoming], T], *, within: float, patience: Patience | None = None
    ) -> T | ServerError | None:
        """What the server says of itself; None when it has not begun to within these seconds. Raises as `ask` does."""
        with self._endpoint.named_failures(), self._bounded(patience):
            if not len(self._incoming) and not self._begins(within):
                return None
            return _answer(read, self._incoming)

    def close(self) -> None:
        """Give the connection up; the next question opens a new one."""
        held, self._socket = self._socket, None
        self._incoming = Incoming(self._receive)
        if held is not None:
            held.close()

    def _exchange(
        self, commands: Sequence[Command], read: Callable[[Incoming], T], patience: Patience | None
    ) -> list[T | ServerError]:
        with self._bounded(patience):
            self._open()
            self._send(commands)
            return [_answer(read, self._incoming) for _ in commands]

    @contextmanager
    def _bounded(self, patience: Patience | None = None) -> Iterator[None]:
        self._heard = False
        own = Patience(self._endpoint.timeout)
        self._patience = (own,) if patience is None else (own, patience)
        with ExitStack() as broken:
            # Also when the process is told to stop: the rest of an answer must not be taken for the next one.
            broken.callback(self.close)
            yield
            broken.pop_all()

    def _open(self) -> None:
        if self._socket is not None:
            return
        started = time.monotonic()
        self._socket = self._endpoint.dial(self._seconds())
        self._account(started, 0)
        greeting = self._endpoint.greeting()
        self._send(greeting)
        for _ in greeting[:-1]:
            status(self._incoming)
        _answer(status, self._incoming)

    def _send(self, commands: Sequence[Command]) -> None:
        assert self._socket is not None
        self._socket.settimeout(self._seconds())
        self._socket.sendall(b"".join(map(_packed, commands)))

    def _begins(self, seconds: float) -> bool:
        assert self._socket is not None
        self._socket.settimeout(max(seconds, 0.0001))
        try:
            self._incoming.add(_some(self._socket))
        except TimeoutError:
            return False
        return True

    def _receive(self) -> bytes:
        assert self._socket is not None
        self._socket.settimeout(self._seconds())
        started, received = time.monotonic(), b""
        try:
            received = _some(self._socket)
        finally:
            self._account(started, len(received))
        self._heard = True
        return received

    def _seconds(self) -> float:
        left = min(each.left() for each in self._patience)
        if left <= 0:
            raise TimeoutError
        return left

    def _account(self, started: float, received: int) -> None:
        for each in self._patience:
            each.account(time.monotonic() - started, received)


def _answer(read: Callable[[Incoming], T], incoming: Incoming) -> T | ServerError:
    try:
        return read(incoming)
    except ServerError as error:
        return error


def _some(held: socket.socket) -> bytes:
    received = held.recv(PACE)
    if not received:
        raise ConnectionError
    return received


def _packed(command: Command) -> bytes:
    words = [word if isinstance(word, bytes) else word.encode(errors="surrogateescape") for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
