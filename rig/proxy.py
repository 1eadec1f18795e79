"""A TCP proxy on loopback that breaks connections on demand."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: closing then sends RST instead of FIN."""


@dataclass(slots=True, kw_only=True)
class Faults:
    """What is wrong now; may be changed while connections are open."""

    refuse: bool = False
    """Every new connection is reset at once."""
    delay: float = 0.0
    """Seconds added before each piece of an answer is passed on."""
    cut_after: int | None = None
    """Answers are cut by a reset after so many bytes of each connection; 0 = requests arrive, answers are lost."""
    silent: bool = False
    """Nothing is passed on in either direction, and nothing is closed: a half-open connection."""


class FaultProxy:
    """Stands before 127.0.0.1:`target`. Sound until told otherwise; `close` ends it with all its connections."""

    def __init__(self, target: int) -> None:
        self.faults = Faults()
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self) -> None:
        """Be sound again for new connections and for those still open."""
        self.faults = Faults()

    def lead_to(self, target: int) -> None:
        """New connections go to 127.0.0.1:`target`; open ones stay where they are."""
        self._target = target

    def drop(self) -> None:
        """Reset every open connection."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _reset(end)

    def close(self) -> None:
        """End the proxy and its connections."""
        # Closing alone does not wake a thread that waits in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # Closed.
            if self.faults.refuse:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                _reset(client)
                continue
            self._join(client, server)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {client, server}
        for pump in (self._pass_requests, self._pass_answers):
            threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(CHUNK):
                self._hold()
                server.sendall(data)
        self._part(client, server)

    def _pass_answers(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(CHUNK):
                self._hold()
                time.sleep(self.faults.delay)
                limit = self.faults.cut_after
                if limit is not None and passed + len(data) > limit:
                    client.sendall(data[: max(0, limit - passed)])
                    break
                client.sendall(data)
                passed += len(data)
        self._part(client, server)

    def _hold(self) -> None:
        while self.faults.silent:
            time.sleep(0.01)

    def _part(self, client: socket.socket, server: socket.socket) -> None:
        cut = self.faults.cut_after is not None
        with self._lock:
            self._open -= {client, server}
        for end in (client, server):
            if cut:
                _reset(end)
            else:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.shutdown(socket.SHUT_RD)
    end.close()
