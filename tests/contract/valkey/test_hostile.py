from __future__ import annotations

import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from knit.errors import CredentialsRejected, KnitError, Misconfigured, Unreachable
from knit.valkey import hints as hints_module
from knit.valkey import reader as reader_module
from knit.valkey.connect import connect
from knit.valkey.hints import Hints
from knit.valkey.layout import Layout
from knit.valkey.reader import ValkeyReader
from knit.valkey.replies import Incoming, Nonsense, push, status, text, texts
from rig.hostile import HostileServer, greeted
from rig.proxy import FaultProxy
from rig.valkey import Valkey

LAYOUT = Layout()
MIB = 1024 * 1024

QUESTIONS: dict[str, Callable[[ValkeyReader], object]] = {
    "revision": lambda reader: reader.revision(),
    "changed": lambda reader: reader.changed(5),
    "index": lambda reader: reader.index(),
    "values": lambda reader: reader.values(["certs:a"]),
}

ODD = [
    b":abc\r\n",
    b":1\r\n",
    b"+OK\r\n",
    b"$abc\r\n",
    b"$-2\r\n",
    b"$ 3\r\nabc\r\n",
    b"$+3\r\nabc\r\n",
    b"$3\r\nabcdef\r\n",
    b"$99999999999999999999\r\n",
    "$٣\r\nabc\r\n".encode(),
    b"*abc\r\n",
    b"*-2\r\n",
    b"*99999999999\r\n",
    b"*2147483647\r\n",
    b"*1\r\n*1\r\n*1\r\n$1\r\na\r\n",
    b"*1\r\n" * 20_000,
    b"*1\r\n:1\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n+a\r\n",
    b"%1\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"%-1\r\n",
    b"~1\r\n:1\r\n",
    b">2\r\n+invalidate\r\n*0\r\n",
    b">0\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",inf\r\n",
    b"(12345678901234567890\r\n",
    b"=5\r\ntxt:a\r\n",
    b"!3\r\nERR\r\n",
    b"|1\r\n+a\r\n+b\r\n$1\r\na\r\n",
    b"\r\n",
    b"\x00\xff\x00\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x16\r\n",
    b"x" * 100_000,
    b"-\r\n",
    b"-\xff\xfe\r\n",
    b"-" + b"E" * 100_000 + b"\r\n",
    b"-MOVED 1 10.0.0.1:1\r\n",
    b"-ASK 1\r\n",
]


@dataclass
class World:
    opened: list[Callable[[], None]] = field(default_factory=list)

    def reader(self, answer: Callable[[bytes], Iterable[bytes]], options: str = "") -> ValkeyReader:
        server = HostileServer(greeted(answer))
        link = connect(server.url + options, name="knit-test")
        reader = ValkeyReader(link.site, LAYOUT)
        self.opened += [reader.close, link.close, server.close]
        return reader

    def hints(self, url: str) -> Hints:
        link = connect(url, name="knit-test")
        hints = Hints(link.site, LAYOUT)
        self.opened += [hints.close, link.close]
        return hints


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for close in world.opened:
        close()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_answer_is_a_failure_of_the_server_and_the_next_question_is_asked_anew(
    world: World, odd: bytes, question: str
) -> None:
    sound = False

    def answer(arrived: bytes) -> Iterable[bytes]:
        if sound:
            return [b"$2\r\n17\r\n"]
        return [odd]

    reader = world.reader(answer, "?socket_timeout=0.2")
    try:
        failed = any(isinstance(one, KnitError) for one in _answers(QUESTIONS[question](reader)))
    except KnitError as error:
        failed = "\n" not in str(error)
    assert failed
    sound = True
    assert reader.revision() == 17


def _answers(found: object) -> list[object]:
    return list(found.values()) if isinstance(found, dict) else [found]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "opening", [b"$99999999999\r\n", b"$1000000000\r\n", b"*1\r\n$1000000000\r\n", b"-", b"+", b""]
)
def test_of_an_endless_answer_little_is_taken(world: World, opening: bytes, question: str) -> None:
    reader = world.reader(lambda _: itertools.chain([opening], itertools.repeat(b"x" * 65536)))
    tracemalloc.start()
    try:
        with pytest.raises(Unreachable, match="that no Valkey server gives"):
            QUESTIONS[question](reader)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


def test_an_endless_list_is_given_up_at_a_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_KEYS", lambda incoming: texts(incoming, most=1000, total=5000))
    for opening in (b"*1001\r\n", b"*1000\r\n"):
        members = itertools.chain([opening], itertools.repeat(b"$6\r\nabcdef\r\n" * 1000))
        reader = world.reader(lambda _, members=members: members)  # type: ignore[misc]
        with pytest.raises(Unreachable):
            reader.index()


def test_a_drip_ends_with_the_time_of_one_answer(world: World) -> None:
    def drip(arrived: bytes) -> Iterator[bytes]:
        for byte in b"$12\r\n123456789012\r\n":
            time.sleep(0.3)
            yield bytes([byte])

    reader = world.reader(drip, "?socket_timeout=0.5")
    started = time.monotonic()
    with pytest.raises(Unreachable, match="in time"):
        reader.revision()
    assert time.monotonic() - started < 4, "all of it takes more than five seconds"


def test_many_slow_answers_end_with_the_time_of_one_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(arrived: bytes) -> Iterator[bytes]:
        time.sleep(0.2)
        yield b"$1\r\n5\r\n"

    monkeypatch.setattr(reader_module, "PASS", 0.7)
    reader = world.reader(slow)
    for _ in range(5):
        assert reader.revision() == 5
    with pytest.raises(Unreachable):
        for _ in range(5):
            reader.values(["certs:a"])


def test_a_slow_line_is_no_fault(world: World) -> None:
    value = b"x" * 200_000

    def paced(arrived: bytes) -> Iterator[bytes]:
        yield b"$200000\r\n"
        for start in range(0, len(value), 40_000):
            time.sleep(0.2)
            yield value[start : start + 40_000]
        yield b"\r\n"

    reader = world.reader(paced, "?socket_timeout=0.5")
    assert reader.values(["certs:a"]) == {"certs:a": value}


def test_a_huge_revision_is_no_revision_and_is_not_fetched(valkey: Valkey, world: World) -> None:
    with closing(connect(valkey.url, name="knit-test")) as link, closing(ValkeyReader(link.site, LAYOUT)) as reader:
        link.client.set(LAYOUT.revision, b"1" * 50 * MIB)
        tracemalloc.start()
        try:
            assert reader.revision() is None
            assert tracemalloc.get_traced_memory()[1] < MIB
        finally:
            tracemalloc.stop()
            link.client.delete(LAYOUT.revision)


def test_an_idle_connection_that_was_forgotten_is_opened_anew(valkey: Valkey, world: World) -> None:
    proxy = FaultProxy(valkey.port)
    url = valkey.url.replace(str(valkey.port), str(proxy.port)) + "?socket_timeout=0.5"
    with (
        closing(proxy),
        closing(connect(url, name="knit-test")) as link,
        closing(ValkeyReader(link.site, LAYOUT)) as reader,
    ):
        reader.index()
        proxy.drop()
        assert reader.index() is not None
        proxy.faults.silent = True
        with pytest.raises(Unreachable, match="in time"):
            reader.index()
        proxy.heal()
        assert reader.index() is not None


def test_a_silent_subscription_is_found_out_and_opened_anew(
    valkey: Valkey, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints_module, "QUIET", 0.3)
    proxy = FaultProxy(valkey.port)
    hints = world.hints(valkey.url.replace(str(valkey.port), str(proxy.port)) + "?socket_timeout=0.5")
    with closing(proxy):
        assert hints.wait(5)
        # Quiet, but alive: asked more than once, and never taken for dead.
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert not hints.wait(0.1)
        proxy.faults.silent = True
        with pytest.raises(Unreachable, match="silent"):
            _wait_for_hint(hints, 5)
        proxy.heal()
        proxy.drop()
        assert _wait_for_hint(hints, 5)


def _wait_for_hint(hints: Hints, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if hints.wait(0.1):
            return True
    return False


SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$18\r\nknit:index:changed\r\n:1\r\n"
HINT = b"*3\r\n$7\r\nmessage\r\n$18\r\nknit:index:changed\r\n$2\r\n17\r\n"


@pytest.mark.parametrize("said", [odd for odd in ODD if odd[:1] != b"-" and odd != b"*1\r\n:1\r\n"])
def test_an_odd_word_on_the_subscription_ends_it_and_nothing_else(world: World, said: bytes) -> None:
    server = HostileServer(greeted(lambda _: [SUBSCRIBED, said]))
    hints = world.hints(server.url + "?socket_timeout=0.2")
    with closing(server):
        assert hints.wait(5)
        with pytest.raises(Unreachable):
            _wait_for_hint(hints, 1)
            hints.drain()
        hints.close()
        assert hints.wait(5)


def test_an_endless_flood_of_hints_is_drained_in_portions(world: World) -> None:
    server = HostileServer(greeted(lambda _: itertools.chain([SUBSCRIBED], itertools.repeat(HINT * 1000))))
    hints = world.hints(server.url)
    with closing(server):
        assert hints.wait(5)
        for _ in range(3):
            assert hints.wait(5)
            started = time.monotonic()
            hints.drain()
            assert time.monotonic() - started < 10


@pytest.mark.parametrize("answer", [b"-WRONGPASS nope\r\n", b":1\r\n", b"*0\r\n", b"+OK\r\n$1\r\n"])
def test_a_login_that_is_answered_oddly_is_told(world: World, answer: bytes) -> None:
    server = HostileServer(lambda _: [answer])
    link = connect(server.url.replace("//", "//user:s3cret@") + "?socket_timeout=0.3", name="knit-test")
    with closing(server), closing(link), closing(ValkeyReader(link.site, LAYOUT)) as reader:
        with pytest.raises(CredentialsRejected if answer[:1] == b"-" else Unreachable) as caught:
            reader.revision()
        assert "s3cret" not in str(caught.value)


def test_each_cause_of_silence_has_its_own_words(world: World) -> None:
    closed = HostileServer(lambda _: [])
    closed.close()
    told = {}
    for name, url in {"refused": closed.url, "unknown": "redis://no-such-host.invalid:1/0"}.items():
        with closing(connect(url, name="knit-test")) as link, pytest.raises(Unreachable) as caught:
            ValkeyReader(link.site, LAYOUT).revision()
        told[name] = str(caught.value)
    assert "Connection refused" in told["refused"]
    assert "resolved" in told["unknown"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("ssl_ca_certs=/nowhere", "roots in ssl_ca_certs"),
        ("ssl_ca_certs={junk}", "roots in ssl_ca_certs"),
        ("ssl_certfile=/nowhere&ssl_keyfile=/nowhere", "ssl_certfile and ssl_keyfile"),
        ("ssl_certfile={junk}", "ssl_certfile and ssl_keyfile"),
    ],
)
def test_a_file_of_the_url_that_is_none_is_not_told_as_the_server_s_silence(
    world: World, tmp_path: Path, options: str, named: str
) -> None:
    (tmp_path / "junk").write_text("junk")
    server = HostileServer(lambda _: [])
    url = server.url.replace("redis", "rediss") + "?" + options.format(junk=tmp_path / "junk")
    with closing(server), closing(connect(url, name="knit-test")) as link, pytest.raises(Unreachable) as caught:
        ValkeyReader(link.site, LAYOUT).revision()
    assert named in str(caught.value)
    assert "reached" not in str(caught.value)


@pytest.mark.parametrize("option", ["ssl_validate_ocsp=1", "ssl_cert_reqs=perhaps"])
def test_what_a_node_cannot_do_is_refused_at_its_start(option: str) -> None:
    with pytest.raises(Misconfigured), closing(connect(f"rediss://h:1/0?{option}", name="knit-test")) as link:
        ValkeyReader(link.site, LAYOUT)


@pytest.mark.parametrize("raw", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(
    "read",
    [
        lambda i: text(i, 20),
        lambda i: texts(i, most=10, total=100),
        lambda i: push(i, 100),
        status,
    ],
)
def test_a_reply_is_read_or_refused_however_it_is_cut(read: Callable[[Incoming], object], raw: bytes) -> None:
    outcomes = set()
    for size in (1, 7, len(raw)):
        pieces = iter([raw[start : start + size] for start in range(0, min(len(raw), 20_000), size)])
        outcomes.add(_outcome(read, pieces))
    assert len(outcomes) == 1


def _outcome(read: Callable[[Incoming], object], pieces: Iterator[bytes]) -> str:
    def receive() -> bytes:
        for piece in pieces:
            return piece
        raise ConnectionError

    try:
        return repr(read(Incoming(receive)))
    except Nonsense:
        return "nonsense"
    except ConnectionError:
        return "cut"
    except Exception as error:  # noqa: BLE001 -- the test compares whatever comes
        return repr(error)
