"""As much of HTTP/1.1 as ACME needs: keep-alive, lengths, no chunks, and the ability to misbehave on the wire.

asyncio sets TCP_NODELAY on every stream socket, and head and body leave in one write, so no answer waits for an ACK.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TypeAlias

_BODY_MOST = 128 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_DRIPS = 16
_LINGER_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, and how it goes over the wire."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    drip_s: float = 0
    """Spread the body over so many seconds."""
    reset: bool = False
    """Send nothing and reset the connection."""
    version: str = "1.1"
    ends: bool = False
    """End the connection after the answer."""
    flood: str = ""
    """Never come to an end: with `interim` answers, `chunks` of one byte, `trailers`, `head` fields or `body` bytes."""

    def adding(self, *headers: tuple[str, str]) -> "Answer":
        return replace(self, headers=self.headers + headers)


Respond: TypeAlias = Callable[[Request], Awaitable[Answer]]


class BadRequestLine(ValueError):
    """Bytes that are not an HTTP request this server reads."""


async def serve(respond: Respond, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until the client leaves."""
    try:
        while True:
            request = await _read(reader)
            answer = await respond(request)
            if answer.reset:
                _reset(writer)
                return
            await _write(writer, request, answer)
            if answer.ends or answer.flood or answer.version == "1.0":
                return
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, BadRequestLine):
        # The client has gone, or speaks something else: there is nobody to tell.
        pass
    except asyncio.CancelledError:
        # The process ends. asyncio's streams report a cancelled connection as an error, so it ends as a plain return.
        pass
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    words = head[0].split(" ")
    if len(words) != 3:
        raise BadRequestLine
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _BODY_MOST or "transfer-encoding" in headers:
        raise BadRequestLine
    body = await reader.readexactly(int(length)) if length != "0" else b""
    return Request(method=words[0], path=words[1], headers=headers, body=body)


async def _write(writer: asyncio.StreamWriter, request: Request, answer: Answer) -> None:
    body = b"" if request.method == "HEAD" else answer.body
    head = _head(answer)
    if answer.flood:
        await _flood(writer, answer.flood)
        return
    if not answer.drip_s:
        writer.write(head + body)
        await writer.drain()
        return
    writer.write(head)
    size = max(1, -(-len(body) // _DRIPS))
    for start in range(0, len(body), size):
        await asyncio.sleep(answer.drip_s / _DRIPS)
        writer.write(body[start : start + size])
        await writer.drain()


def _head(answer: Answer) -> bytes:
    reason = _REASONS.get(answer.status, "Scripted")
    lines = [f"HTTP/{answer.version} {answer.status} {reason}"]
    if answer.status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(answer.body)}")
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    lines.extend(f"{name}: {value}" for name, value in answer.headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


_FLOODS = {
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 100),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 100),
    "head": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100),
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
    "extensions": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1;" + b"x" * 60_000 + b"\r\nx\r\n",
    ),
}
FLOODS = tuple(_FLOODS)


async def _flood(writer: asyncio.StreamWriter, kind: str) -> None:
    first, ever = _FLOODS[kind]
    writer.write(first)
    while not writer.transport.is_closing():
        writer.write(ever)
        await writer.drain()
        await asyncio.sleep(0)


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()
