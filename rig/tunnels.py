"""An HTTP proxy on loopback that knows one thing: CONNECT (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from contextlib import suppress


class Tunnels:
    """Leads to 127.0.0.1 whatever host it is asked for: only it can look hosts up. `asked` says for what it was asked.

    With `login` (user:password) it lets nobody else through. `answer` replaces what it would say.
    """

    def __init__(self, *, login: str | None = None, answer: bytes | None = None) -> None:
        self.asked: list[str] = []
        self._login = None if login is None else b64encode(login.encode()).decode()
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those that are open end with their clients."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # Closed.
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                more = client.recv(1)
                if not more:
                    return
                head += more
            first, *fields = head.decode().split("\r\n")
            method, target, _ = first.split(" ")
            self.asked.append(target)
            if self._answer is not None:
                client.sendall(self._answer)
                return
            if method != "CONNECT" or (self._login and f"Proxy-Authorization: Basic {self._login}" not in fields):
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2])), timeout=5) as server:
                server.settimeout(None)
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pass, args=(server, client), daemon=True)
                back.start()
                _pass(client, server)
                back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
