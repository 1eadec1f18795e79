"""One keep-alive HTTPS connection: HTTP/1.1 as ACME needs it, read by hand because that halves a certificate's CPU.

Only https, only to one origin, never following a redirect; a proxy is a tunnel and reads nothing. A reply is at most
1 MiB in at most 20,000 pieces and must be whole within 30 seconds, connecting included; the wait for it ends within two
seconds of the process being told to stop. A CA that ends each connection after its answer costs a connection for each
request.
"""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from knit.core.proxy import Proxy
from knit.errors import IssuerDown
from knit.issuers.acme.dial import reach, through
from knit.issuers.acme.origin import Origin
from knit.ports.process import Sleep

REPLY_SECONDS = 30.0
LISTEN_SECONDS = 2.0
IDLE_SECONDS = 20.0
BUSY_SECONDS = 1.0
"""A connection used within this time is not asked whether it is still there."""
LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 1024 * 1024
LARGEST_REPLY = LARGEST_BODY + 4 * LARGEST_HEAD
MOST_PIECES = 20_000
"""Reads and lines of one reply: a whole one in segments of the smallest usual size takes a tenth of them."""
MOST_INTERIM = 10
STATUS_LINE = re.compile(r"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?")
LARGEST_RECORD = 16 * 1024
NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer; header names are lower case, repeated headers joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Raises ValueError when the body is not JSON."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            message = "JSON nested too deeply"
            raise ValueError(message) from error


class Connection:
    """The connection of one thread to one origin. Opened when first needed, and again after any failure.

    The socket does not block, and is waited for here: with a timeout of its own it would be polled before and after
    each read and write, and every system call is a chance for another thread to take the interpreter's lock away.
    """

    def __init__(self, origin: Origin, context: ssl.SSLContext, sleep: Sleep, proxy: Proxy | None = None) -> None:
        self.origin = origin
        self._proxy = proxy
        self._context = context
        self._sleep = sleep
        self._socket: ssl.SSLSocket | None = None
        self._input = select.poll()
        self._buffer = bytearray()
        self._deadline = 0.0
        self._used = 0.0
        self._room = self._pieces = 0
        self._answers = 0
        self._ends = False

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    def exchange(self, method: str, target: str, fields: str, body: bytes = b"") -> Reply:
        """Send one request and read its whole reply; `fields` are ready header lines, each ending in CRLF.

        Raises Unreachable when the reply cannot be had (the request may have been received all the same), and
        Interrupted when the process is told to stop.
        """
        head = f"{method} {target} HTTP/1.1\r\nHost: {self.origin}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        self._room, self._pieces = LARGEST_REPLY, MOST_PIECES
        with self._whole_or_closed():
            self._send(self._ready(), head.encode("ascii") + body)
            reply, stays = self._read(bodiless=method == "HEAD")
        self._used = time.monotonic()
        self._answers += 1
        if not stays or self._ends or self._buffer:
            self.close()
        return reply

    @contextmanager
    def _whole_or_closed(self) -> Iterator[None]:
        whole = False
        try:
            yield
            whole = True
        except ssl.SSLCertVerificationError as error:
            reason = (
                f"its TLS certificate is not trusted ({error.verify_message}); private roots go in a file of the "
                "issuer's (KNIT_ACME_CA_FILE, or ca_file in the file of issuers)"
            )
            raise self._unreachable(reason) from error
        except TimeoutError as error:
            raise self._unreachable("timed out") from error
        except ssl.SSLError as error:
            spoken = "what answers there does not speak TLS" if error.reason in NOT_TLS else error.strerror
            raise self._unreachable(spoken or type(error).__name__) from error
        except OSError as error:
            raise self._unreachable(error.strerror or type(error).__name__) from error
        except UnicodeError as error:
            raise self._unreachable("its host is no name that can be looked up") from error
        finally:
            if not whole:
                # One that ended after its first answer: from now on none is used twice here.
                self._ends = self._ends or (self._socket is not None and self._answers == 1)
                self.close()

    def _unreachable(self, reason: str) -> IssuerDown:
        return IssuerDown(f"the CA at {self.origin} cannot be reached: {reason}")

    def _ready(self) -> ssl.SSLSocket:
        now = time.monotonic()
        self._deadline = now + REPLY_SECONDS
        idle = now - self._used
        if self._socket is not None and (idle > IDLE_SECONDS or (self._is_doubtful(idle) and self._input.poll(0))):
            # What a silent connection has to say before it is asked is that it is closed.
            self.close()
        if self._socket is None:
            # Threads may have waited for each other's vain connects: none begins another once the process stops.
            self._sleep(0)
            self._socket, self._answers = self._open(), 0
        return self._socket

    def _is_doubtful(self, idle: float) -> bool:
        """Whether the connection may have been ended: it was left alone for a while, or has answered only once."""
        return idle > BUSY_SECONDS or self._answers == 1

    def _open(self) -> ssl.SSLSocket:
        plain = self._connected()
        with ExitStack() as undo:
            undo.callback(plain.close)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = self._context.wrap_socket(plain, server_hostname=self.origin.host, do_handshake_on_connect=False)
            undo.callback(stream.close)
            stream.settimeout(0)
            self._input = select.poll()
            self._input.register(stream, select.POLLIN)
            self._shake_hands(stream)
            undo.pop_all()
        return stream

    def _connected(self) -> socket.socket:
        if self._proxy is None:
            return reach(self.origin.host, self.origin.port, self._sleep, until=self._deadline)
        return through(self._proxy, self.origin.with_port, self._sleep, until=self._deadline)

    def _shake_hands(self, stream: ssl.SSLSocket) -> None:
        while True:
            try:
                stream.do_handshake()
            except ssl.SSLWantReadError:
                self._await_input()
            except ssl.SSLWantWriteError:
                self._await_room(stream)
            else:
                return

    def _send(self, stream: ssl.SSLSocket, data: bytes) -> None:
        while data:
            try:
                data = data[stream.send(data) :]
            except ssl.SSLWantWriteError:
                self._await_room(stream)

    def _await_room(self, stream: ssl.SSLSocket) -> None:
        room = select.poll()
        room.register(stream, select.POLLOUT)
        while not room.poll(LISTEN_SECONDS * 1000):
            if time.monotonic() > self._deadline:
                raise TimeoutError
            self._sleep(0)

    def _read(self, *, bodiless: bool) -> tuple[Reply, bool]:
        """The reply, and whether the connection stays."""
        for _ in range(MOST_INTERIM):
            version, status, headers = self._head()
            if not 100 <= status < 200:
                break
        else:
            raise self._unreachable("it keeps answering that an answer will come")
        body = b"" if bodiless or status in BODILESS else self._body(headers)
        wishes = {wish.strip() for wish in headers.get("connection", "").lower().split(",")}
        return Reply(status, headers, body), "close" not in wishes and (version == "1" or "keep-alive" in wishes)

    def _head(self) -> tuple[str, int, dict[str, str]]:
        end = self._find(b"\r\n\r\n", LARGEST_HEAD)
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        match = STATUS_LINE.fullmatch(first)
        if match is None:
            raise self._unreachable("it does not speak HTTP/1.1")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key, value = name.lower(), value.strip()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        return match[1], int(match[2]), headers

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            return self._chunks(headers["transfer-encoding"])
        if "content-length" in headers:
            return self._take(self._size(headers["content-length"], 10))
        return self._rest()

    def _chunks(self, encoding: str) -> bytes:
        if encoding.lower() != "chunked":
            raise self._unreachable("its reply has an unknown transfer encoding")
        body = bytearray()
        while size := self._size(self._line().partition(";")[0].strip(), 16):
            if len(body) + size > LARGEST_BODY:
                raise self._unreachable("its reply is larger than 1 MiB")
            body += self._take(size)
            self._line()
        while self._line():
            # Fields after the body say nothing that is acted on.
            continue
        return bytes(body)

    def _size(self, text: str, base: int) -> int:
        if not re.fullmatch(r"[0-9a-fA-F]{1,12}", text) or (base == 10 and not text.isdigit()):
            raise self._unreachable("its reply gives no sound length")
        size = int(text, base)
        if size > LARGEST_BODY:
            raise self._unreachable("its reply is larger than 1 MiB")
        return size

    def _line(self) -> str:
        self._count_piece()
        end = self._find(b"\r\n", LARGEST_HEAD)
        line = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 2]
        return line

    def _find(self, mark: bytes, limit: int) -> int:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > limit:
                raise self._unreachable("its reply has too long a head")
            if not self._fill():
                raise self._unreachable("it closed the connection without a reply")
        return end

    def _count_piece(self) -> None:
        self._pieces -= 1
        if self._pieces < 0:
            raise self._unreachable(f"its reply comes in more than {MOST_PIECES} pieces")

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._fill():
                raise self._unreachable("it closed the connection in the middle of a reply")
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _rest(self) -> bytes:
        while self._fill():
            if len(self._buffer) > LARGEST_BODY:
                raise self._unreachable("its reply is larger than 1 MiB")
        rest = bytes(self._buffer)
        self.close()
        return rest

    def _fill(self) -> bool:
        if self._socket is None:
            return False
        while True:
            self._count_piece()
            self._await_input()
            try:
                # At least a whole record, so that nothing stays behind where the poll would not see it.
                data = self._socket.recv(LARGEST_RECORD)
            except ssl.SSLWantReadError:
                # Part of a record, or one that is not for us, such as a session ticket.
                continue
            except ssl.SSLEOFError:
                data = b""
            self._room -= len(data)
            if self._room < 0:
                raise self._unreachable("its reply is larger than 1 MiB")
            self._buffer += data
            return bool(data)

    def _await_input(self) -> None:
        while True:
            if time.monotonic() > self._deadline:
                raise TimeoutError
            if self._input.poll(LISTEN_SECONDS * 1000):
                return
            self._sleep(0)
