"""Servers that answer with anything: DNS packets and API replies made from honest ones by chance, from one seed."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from knit.dns import query as dnsquery
from rig.dns_api.server import FakeApi, Request, Response
from rig.ports import free_port

HEADER = 12
OPT = 11
TXT, CNAME, SOA, NS, A, CAA, RRSIG, OPTION = 16, 5, 6, 2, 1, 257, 46, 41
HERE = b"\xc0\x0c"
"""A pointer to the question's name."""

_NAME = b"\x01x\x04acme\x04test\x00"
_DATA: tuple[tuple[int, bytes], ...] = (
    (TXT, b"\x06wanted"),
    (TXT, b"\x03wan\x03ted"),
    (TXT, b"\x00"),
    (TXT, b"\xff" * 256),
    (CNAME, _NAME),
    (CNAME, HERE),
    (SOA, b"\x03ns1" + HERE + b"\x01h" + HERE + struct.pack("!5I", 1, 60, 60, 3600, 60)),
    (NS, b"\x03ns1" + HERE),
    (A, b"\x7f\0\0\2"),
    (CAA, b"\x00\x05issueca.example"),
    (CAA, b"\x80\x06futurex"),
    (RRSIG, b"\xff" * 9),
    (OPTION, b"\0\x0a\0\x08" + b"\0" * 8),
)
_POINTERS = (b"\xc0\x0c", b"\xc0\x00", b"\xff\xff", b"\xc0\x1d", b"\x3f\x3f", b"\x80\x80")


def packet(query: bytes, dice: random.Random) -> bytes:
    """One answer to this query. Most have its number and question, for others are not even looked at."""
    if dice.random() < 0.02:
        return dice.randbytes(dice.randrange(80))
    question = query[HEADER : len(query) - OPT * query[HEADER - 1]]
    counts = [0, 0, 0]
    records = b""
    for section in range(3):
        for _ in range(dice.choice((0, 1, 1, 2))):
            records += _record(dice)
            counts[section] += 1
    flags = dice.choice((0x8400, 0x8400, 0x8180, 0x8180, 0x8403, 0x8182, 0x8405, dice.randrange(65536) | 0x8000))
    if dice.random() < 0.03:
        counts[dice.randrange(3)] = dice.choice((0, 7, 65535))
    wire = bytearray(query[:2] + struct.pack("!5H", flags, 1, *counts) + question + records)
    _spoil(wire, HEADER + len(question), dice)
    return bytes(wire)


def _record(dice: random.Random) -> bytes:
    kind, data = dice.choice(_DATA)
    owner = HERE if dice.random() < 0.8 else dice.choice((_NAME, b"\0", *_POINTERS))
    cls = 1 if dice.random() < 0.9 else dice.choice((3, 4, 254, 255, dice.randrange(65536)))
    length = len(data) if dice.random() < 0.95 else dice.randrange(300)
    return owner + struct.pack("!HHIH", kind, cls, dice.choice((0, 60, 2**31, 2**32 - 1)), length) + data


def _spoil(wire: bytearray, start: int, dice: random.Random) -> None:
    room = len(wire) - start
    for _ in range(dice.choice((0, 0, 1, 2, 8)) if room > 2 else 0):
        at = start + dice.randrange(room - 1)
        wire[at : at + 2] = dice.choice((*_POINTERS, dice.randbytes(2)))
    if dice.random() < 0.1:
        del wire[start + dice.randrange(room + 1) :]
    if dice.random() < 0.05:
        wire += dice.randbytes(dice.randrange(600))


class HostileServer:
    """Answers every question at one loopback port, over UDP and TCP. `packets` counts."""

    def __init__(self, seed: int) -> None:
        self.packets = 0
        self._dice = random.Random(seed)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    @contextmanager
    def serving(self) -> Iterator[int]:
        """Serve; gives the port."""
        port = free_port()
        self._udp.bind(("127.0.0.1", port))
        self._tcp.bind(("127.0.0.1", port))
        self._tcp.listen(64)
        threads = [threading.Thread(target=work, daemon=True) for work in (self._by_udp, self._by_tcp)]
        for thread in threads:
            thread.start()
        try:
            yield port
        finally:
            for opened in (self._udp, self._tcp):
                with _ignored():
                    opened.shutdown(socket.SHUT_RDWR)
                opened.close()
            for thread in threads:
                thread.join(5)

    def _by_udp(self) -> None:
        with _ignored():
            while True:
                query, peer = self._udp.recvfrom(4096)
                if not query:
                    return
                self.packets += 1
                answer = packet(query, self._dice)
                self._udp.sendto(answer, peer)
                if not dnsquery._answers(query, answer):
                    # It is not listened to; this one ends the waiting.
                    self._udp.sendto(query[:2] + b"\x84\x02" + query[4:6] + bytes(6) + query[HEADER:-OPT], peer)

    def _by_tcp(self) -> None:
        with _ignored():
            while True:
                client, _ = self._tcp.accept()
                with client, _ignored():
                    client.settimeout(1)
                    (length,) = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))
                    answer = packet(client.recv(length, socket.MSG_WAITALL), self._dice)
                    self.packets += 1
                    said = len(answer) if self._dice.random() < 0.8 else self._dice.randrange(65536)
                    client.sendall(struct.pack("!H", said) + answer)


@contextmanager
def _ignored() -> Iterator[None]:
    try:
        yield
    except (OSError, struct.error):
        return


_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 1e308, "", " ", "x" * 5000, "\x00", "\ud83d\ude00", "2026-13-45", "null"),
    *([], {}, [[]], [None], {"": None}, ["x"], {"id": {}}, [{}] * 50),
)
_STATUS = (200, 200, 200, 200, 201, 202, 204, 301, 304, 400, 401, 403, 404, 404, 409, 412, 422, 429, 500, 502, 503, 599)
_AFTER = (
    "1",
    "0",
    "-1",
    "9" * 30,
    "soon",
    "",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Wed, 99 Oct 9999 07:28:00 GMT",
    "\xe9",
)


def hostile(kind: type[FakeApi], seed: int) -> FakeApi:
    """This API, gone mad: what it answers is its honest answer, spoilt."""

    class Hostile(kind):  # type: ignore[misc,valid-type] # any of the fakes
        replies = 0
        dice = random.Random(seed)

        def answer(self, request: Request) -> Response:
            self.replies += 1
            return spoilt(super().answer(request), self.dice)

    made: FakeApi = Hostile()
    return made


def spoilt(honest: Response, dice: random.Random) -> Response:
    """One reply with something wrong in it, more often than not."""
    status = honest.status if dice.random() < 0.7 else dice.choice(_STATUS)
    headers = dict(honest.headers)
    if status in {429, 503} and dice.random() < 0.8:
        headers["Retry-After"] = dice.choice(_AFTER)
    if dice.random() < 0.1:
        headers.update({dice.choice(("Location", "Link", "Set-Cookie", "ETag", "Content-Type")): "\xff; rel=next <x>"})
    return Response(status=status, body=_body(honest.body, dice), headers=headers)


def _body(body: bytes, dice: random.Random) -> bytes:
    luck = dice.random()
    if luck < 0.3:
        return body
    if luck < 0.35:
        return b"[" * dice.choice((1, 100, 50_000))
    if luck < 0.5:
        return _flipped(body, dice)
    try:
        return json.dumps(_twisted(json.loads(body), dice)).encode()
    except ValueError:
        return _flipped(body, dice)


def _flipped(body: bytes, dice: random.Random) -> bytes:
    wire = bytearray(body)
    for _ in range(min(len(wire), dice.choice((1, 3, 20)))):
        wire[dice.randrange(len(wire))] = dice.randrange(256)
    return bytes(wire[: dice.randrange(len(wire) + 1)] if dice.random() < 0.3 else wire)


def _twisted(value: Any, dice: random.Random) -> Any:
    """The same with one part of it replaced, dropped or doubled."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(list(value))
        if dice.random() < 0.15:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: _twisted(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        at = dice.randrange(len(value))
        if dice.random() < 0.15:
            return value * 2 if dice.random() < 0.5 else value[:at] + value[at + 1 :]
        return [*value[:at], _twisted(value[at], dice), *value[at + 1 :]]
    return dice.choice(_ODD)
