"""One reply of a CA as it comes over the wire: how far it goes, whether the connection stays, and what has a bound."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from knit.errors import Unreachable
from knit.issuers.acme.origin import Origin
from knit.issuers.acme.transport import LARGEST_BODY, LARGEST_HEAD, MOST_INTERIM, MOST_PIECES, Connection, Reply

PIECE = 16 * 1024
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(raw: bytes, *, bodiless: bool = False) -> tuple[Reply, bool]:
    """What is read of a server that sends this and then closes the connection; and whether it was to stay."""
    pieces = (raw[start : start + PIECE] for start in range(0, len(raw), PIECE))
    return Fed(pieces)._read(bodiless=bodiless)


class Fed(Connection):
    """Takes what it is given instead of a socket's bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__(Origin("ca.example", 443), ssl.create_default_context(), lambda _: None)
        self._fed = pieces
        self._pieces = MOST_PIECES

    def _fill(self) -> bool:
        piece = next(self._fed, b"")
        self._buffer += piece
        return bool(piece)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (OK + b"content-length:5\r\n\r\nhello, and more", b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (OK + b"\r\nall until the end", b"all until the end"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"2;name=value\r\nhe\r\nA\r\nllo, there\r\n00\r\nTrailer: x\r\nOther: y\r\n\r\n", b"hello, there"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM - 1) + OK + b"Content-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200\r\n\r\nok", b"ok"),
    ],
)
def test_a_reply_goes_as_far_as_it_says(raw: bytes, body: bytes) -> None:
    assert read(raw)[0].body == body


def test_the_reply_to_a_question_for_the_head_alone_has_no_body() -> None:
    assert read(OK + b"Content-Length: 5\r\n\r\n", bodiless=True)[0].body == b""


@pytest.mark.parametrize(
    ("version", "header", "stays"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: keep-alive\r\n", True),
        ("1.1", "Connection: Close\r\n", False),
        ("1.1", "Connection: upgrade, close\r\n", False),
        ("1.1", "Connection: upgrade\r\nConnection: close\r\n", False),
        ("1.1", "Connection: closed\r\n", True),
        ("1.0", "", False),
        ("1.0", "Connection: close\r\n", False),
        ("1.0", "Connection: Keep-Alive\r\n", True),
        ("1.0", "Connection: keep-alive, close\r\n", False),
    ],
)
def test_a_connection_stays_when_both_sides_know_that_it_does(version: str, header: str, *, stays: bool) -> None:
    raw = f"HTTP/{version} 200 OK\r\n{header}Content-Length: 0\r\n\r\n".encode()
    assert read(raw)[1] is stays


def chunks(size: int, count: int) -> bytes:
    return CHUNKED + b"%x\r\n%b\r\n" % (size, b"x" * size) * count + b"0\r\n\r\n"


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("form", ["length", "chunk", "chunks", "rest"])
def test_a_body_of_more_than_a_mebibyte_is_left(form: str, more: int) -> None:
    size = LARGEST_BODY + more
    raw = {
        "length": lambda: OK + b"Content-Length: %d\r\n\r\n%b" % (size, b"x" * size),
        "chunk": lambda: chunks(size, 1),
        "chunks": lambda: chunks(size // 4, 4).replace(
            b"0\r\n\r\n", b"%x\r\nx\r\n0\r\n\r\n" % more if more else b"0\r\n\r\n"
        ),
        "rest": lambda: OK + b"\r\n" + b"x" * size,
    }[form]()
    if more:
        with pytest.raises(Unreachable, match="larger than 1 MiB"):
            read(raw)
    else:
        assert len(read(raw)[0].body) == size


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (OK + b"X: " + b"x" * (LARGEST_HEAD + PIECE), "too long a head"),
        (CHUNKED + b"1;" + b"x" * (LARGEST_HEAD + PIECE), "too long a head"),
        (CHUNKED + b"1\r\nx\r\n" * MOST_PIECES, f"more than {MOST_PIECES} pieces"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * MOST_INTERIM + OK + b"Content-Length: 0\r\n\r\n", "keeps answering"),
        (OK + b"Content-Length: 5\r\n\r\nhell", "in the middle of a reply"),
        (CHUNKED + b"5\r\nhell", "in the middle of a reply"),
        (OK + b"Content-Length: 5\r\n", "without a reply"),
        (b"", "without a reply"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "does not speak HTTP/1.1"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "unknown transfer encoding"),
        *(
            (OK + b"Content-Length: %b\r\n\r\n" % size, "no sound length")
            for size in (b"-1", b"+5", b"5 5", b"0x5", b"ab", b"1_0", b"", b"\xb2", b"1" * 13, b"5, 5")
        ),
        *(
            (CHUNKED + b"%b\r\nhello\r\n0\r\n\r\n" % size, "no sound length")
            for size in (b"-5", b"+5", b"0x5", b"5_", b"", b"xyz", b"1" * 13)
        ),
    ],
)
def test_what_is_no_reply_or_has_no_end_is_told_as_such(raw: bytes, said: str) -> None:
    with pytest.raises(Unreachable, match=said):
        read(raw)


def test_names_of_headers_are_lower_case_and_repeated_ones_are_joined() -> None:
    reply, _ = read(OK + b"LINK: <a>\r\nLink:<b> \r\nContent-Length: 0\r\nOdd\r\n\r\n")
    assert reply.headers == {"link": "<a>, <b>", "content-length": "0", "odd": ""}


class Kept(Fed):
    """One whose requests go nowhere, with a socket that only ends."""

    def __init__(self, *replies: bytes) -> None:
        super().__init__(iter(()))
        self._replies = list(replies)
        self.opened = 0

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def _open(self) -> Any:
        self.opened += 1
        return SimpleNamespace(close=lambda: None)

    def _send(self, stream: object, data: bytes) -> None:
        assert data.startswith(b"POST /x HTTP/1.1\r\nHost: ca.example\r\n")
        self._fed = iter([self._replies.pop(0)])

    def ask(self) -> bytes:
        return self.exchange("POST", "/x", "").body


def whole(header: bytes = b"", more: bytes = b"") -> bytes:
    return OK + header + b"Content-Length: 2\r\n\r\nok" + more


@pytest.mark.parametrize(
    ("reply", "stays"),
    [
        (whole(), True),
        (whole(b"Connection: close\r\n"), False),
        (whole().replace(b"1.1", b"1.0"), False),
        (whole(more=OK + b"Content-Length: 4\r\n\r\nfake"), False),
        (whole(more=b"\n"), False),
    ],
    ids=["kept", "ended by the CA", "HTTP/1.0", "with another reply", "with a byte more"],
)
def test_a_connection_is_used_again_only_after_a_reply_that_leaves_nothing(reply: bytes, *, stays: bool) -> None:
    connection = Kept(reply, whole())
    assert connection.ask() == b"ok"
    assert connection.is_open is stays
    assert connection.ask() == b"ok", "nothing is left of the first reply"
    assert connection.opened == (1 if stays else 2)


def test_a_ca_that_ends_each_connection_after_one_reply_gets_one_for_each_request() -> None:
    connection = Kept(whole(), b"", whole(), whole(), whole())
    assert connection.ask() == b"ok"
    with pytest.raises(Unreachable):
        connection.ask()
    for _ in range(3):
        assert connection.ask() == b"ok"
        assert not connection.is_open


@pytest.mark.parametrize("replies", [0, 2, 5])
def test_one_that_breaks_off_at_another_time_is_used_as_before(replies: int) -> None:
    connection = Kept(*[whole()] * replies, b"", whole())
    for _ in range(replies):
        connection.ask()
    with pytest.raises(Unreachable):
        connection.ask()
    connection.ask()
    assert connection.is_open


@pytest.mark.parametrize(
    ("replies", "idle", "doubtful"), [(1, 0.0, True), (2, 0.0, False), (2, 0.9, False), (2, 1.1, True)]
)
def test_a_connection_may_have_been_ended_after_its_first_reply_or_a_while(
    replies: int, idle: float, *, doubtful: bool
) -> None:
    connection = Kept(*[whole()] * replies)
    for _ in range(replies):
        connection.ask()
    assert connection._is_doubtful(idle) is doubtful


def test_replies_are_counted_anew_for_each_connection() -> None:
    connection = Kept(whole(), whole(), b"", whole(), b"", whole())
    connection.ask()
    connection.ask()
    for _ in range(2):
        with pytest.raises(Unreachable):
            connection.ask()
        connection.ask()
    assert not connection.is_open
