"""A server on loopback that says to each connection whatever a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress


class HostileServer:
    """`answer` gets what has arrived and says, piece by piece, what to send; the connection stays open after it."""

    def __init__(self, answer: Callable[[bytes], Iterable[bytes]]) -> None:
        self._answer = answer
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.sent = 0
        self.accepted = 0
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        """End it with its connections."""
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                self._open.append(end)
                self.accepted += 1
                threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        with suppress(OSError):
            while arrived := end.recv(65536):
                for piece in self._answer(arrived):
                    end.sendall(piece)
                    self.sent += len(piece)


def greeted(answer: Callable[[bytes], Iterable[bytes]]) -> Callable[[bytes], Iterable[bytes]]:
    """With a proper answer to what a client says of itself, which comes in front of its first question."""

    def say(arrived: bytes) -> Iterable[bytes]:
        if b"SETINFO" in arrived:
            yield b"+OK\r\n"
            if arrived.count(b"*") == 1:
                return
        yield from answer(arrived)

    return say
