from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from rig.hostile import HostileServer, greeted
from rig.valkey import Valkey
from tests.integration.node import pki
from tests.integration.node.conftest import LAYOUT, Node, Publisher, until


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_published_change_reaches_the_files_long_before_the_next_poll(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    node.process()
    until(lambda: node.reload_count == 1)
    for generation in (2, 3):
        renewed = pki.pair(age=1 / generation)
        publisher.pair("cert:a", renewed, generation=generation)
        until(lambda reloads=generation: node.reload_count == reloads)  # type: ignore[misc]
        assert node.pair() == renewed


def test_hints_come_again_after_valkey_was_restarted(node: Node, own_valkey: Valkey) -> None:
    publisher = Publisher(own_valkey.url, node.folder)
    publisher.pair("cert:a", pki.pair())
    node = node.with_settings(valkey_url=own_valkey.url)
    node.process(KNIT_WATCH_INTERVAL="2")
    until(lambda: node.reload_count == 1)
    own_valkey.restart()
    renewed = pki.pair(age=0.5)
    publisher.pair("cert:a", renewed, generation=2)
    until(lambda: node.reload_count == 2)
    assert node.pair() == renewed
    publisher.link.close()


def test_a_node_without_the_right_to_subscribe_still_polls(node: Node, own_valkey: Valkey) -> None:
    publisher = Publisher(own_valkey.url, node.folder)
    admin = redis.Redis.from_url(own_valkey.url)
    admin.acl_setuser("node", enabled=True, passwords=["+pass"], keys=["*"], categories=["+@read"])
    publisher.pair("cert:a", pki.pair())
    node = node.with_settings(valkey_url=own_valkey.url_of(user="node", password="pass"))
    node.process(KNIT_WATCH_INTERVAL="0.5")
    until(lambda: node.reload_count == 1)
    publisher.pair("cert:a", pki.pair(age=0.5), generation=2)
    until(lambda: node.reload_count == 2)
    admin.close()
    publisher.link.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_waiting_node_ends_at_once_with_exit_code_0(node: Node, publisher: Publisher, number: int) -> None:
    publisher.pair("cert:a", pki.pair())
    process = node.process()
    until(lambda: node.reload_count == 1)
    time.sleep(0.3)
    asked = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 0
    assert time.monotonic() - asked < 8
    assert "Traceback" not in process.communicate()[1]


def test_a_node_told_to_stop_in_mid_pass_leaves_whole_pairs(node: Node, publisher: Publisher) -> None:
    pairs = {f"n{number}": pki.pair() for number in range(120)}
    for name, bundle in pairs.items():
        publisher.pair(f"cert:{name}", bundle, name=name)
    process = node.process()
    until(lambda: len(node.files()) > 20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    written = {path.stem for path in node.folder.glob("*.pem")}
    assert node.files() == {f"{name}{end}" for name in written for end in (".pem", ".key")}
    assert all(node.pair(name) == pairs[name] for name in written)
    assert node.once()
    assert node.reload_count >= 1


def test_a_node_told_to_stop_during_a_hanging_reload_stops_soon_and_still_owes_it(
    node: Node, publisher: Publisher
) -> None:
    publisher.pair("cert:a", pki.pair())
    hanging = node.with_settings(reload_cmd=f"touch {node.reloads}.begun; sleep 60")
    process = hanging.process(KNIT_RELOAD_TIMEOUT="50")
    until(Path(f"{node.reloads}.begun").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert node.once()
    assert node.reload_count == 1


def test_two_watchers_on_one_state_folder_are_one_too_many(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    node.process()
    until(lambda: node.reload_count == 1)
    second = node.process()
    assert second.wait(10) == 1
    (line,) = second.communicate()[1].splitlines()
    assert "another knit watch is using KNIT_STATE_DIR" in line


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"KNIT_VALKEY_URL": ""}, 2, "KNIT_VALKEY_URL"),
        ({"KNIT_VALKEY_URL": "redis://:hunter2@127.0.0.1:1"}, 1, "127.0.0.1:1 cannot be reached"),
        ({"KNIT_WATCH_INTERVAL": "soon"}, 2, "KNIT_WATCH_INTERVAL"),
        ({"KNIT_WATCH_ROOTS": "certs"}, 2, "KNIT_WATCH_ROOTS"),
        ({"KNIT_WATCH_INTERVALL": "5"}, 2, "KNIT_WATCH_INTERVALL"),
        ({"KNIT_STATE_DIR": "/proc/knit"}, 1, "KNIT_STATE_DIR"),
        ({"KNIT_DB_URL": "not a url, and none of the node's business"}, 0, ""),
    ],
)
def test_each_wrong_setting_is_one_clear_line(
    node: Node, publisher: Publisher, variables: dict[str, str], code: int, words: str
) -> None:
    publisher.pair("cert:a", pki.pair())
    process = node.process("--once", **variables)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert words in errors
    assert "hunter2" not in errors
    assert "Traceback" not in errors
    assert code == 0 or len(errors.splitlines()) == 1


def test_an_idle_node_stays_below_34_mib_and_a_thousandth_of_a_core(node: Node, publisher: Publisher) -> None:
    for number in range(50):
        publisher.pair(f"cert:{number}", pki.pair(), name=f"n{number}")
    process = node.process(KNIT_WATCH_INTERVAL="1")
    until(lambda: node.reload_count == 1, 30)
    time.sleep(0.5)
    before = cpu_seconds(process.pid)
    time.sleep(4)
    polled = cpu_seconds(process.pid) - before
    assert memory_mib(process.pid) < 34
    # Polling sixty times as often as by default.
    assert polled / 4 < 0.06


def test_a_node_polls_on_under_a_flood_of_hints(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    process = node.process(KNIT_WATCH_INTERVAL="1")
    until(lambda: node.reload_count == 1)
    with _flood(publisher):
        time.sleep(1)
        for age, reloads in ((0.5, 2), (0.2, 3)):
            publisher.without_feed("cert:a", pki.value(pki.pair(age=age), node.folder, generation=reloads))
            publisher.link.client.delete(LAYOUT.revision)
            until(lambda reloads=reloads: node.reload_count == reloads, 20)  # type: ignore[misc]
    assert memory_mib(process.pid) < 45


@contextmanager
def _flood(publisher: Publisher) -> Iterator[None]:
    """As many hints as the server passes on."""
    client, name, stop = publisher.link.client, LAYOUT.channel.encode(), threading.Event()
    hints = b"".join(b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$2\r\n17\r\n" % (len(name), name) for _ in range(5000))

    def flood() -> None:
        with socket.create_connection(_address(client)) as end:
            threading.Thread(target=_swallow, args=(end,), daemon=True).start()
            while not stop.is_set():
                end.sendall(hints)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _address(client: redis.Redis) -> tuple[str, int]:
    options = client.connection_pool.connection_kwargs
    return options["host"], options["port"]


def _swallow(end: socket.socket) -> None:
    with suppress(OSError):
        while end.recv(1 << 20):
            pass


@pytest.mark.parametrize(
    "said",
    [b":abc\r\n", b"*1\r\n" * 5000, b">3\r\n+a\r\n", b"$9999999999\r\n" + b"x" * 1_000_000, b"*2\r\n:1\r\n*-1\r\n"],
    ids=["number", "nested", "push", "endless", "null"],
)
def test_a_server_that_answers_nonsense_is_one_line_and_the_next_try(node: Node, said: bytes) -> None:
    server = HostileServer(greeted(lambda _: [said]))
    with closing(server):
        process = node.with_settings(valkey_url=server.url).process(KNIT_WATCH_INTERVAL="0.2")
        # Two for the start (questions and hints), and at least three more tries.
        until(lambda: server.accepted >= 5, 30)
        assert process.poll() is None
        assert memory_mib(process.pid) < 45
        process.terminate()
        errors = process.communicate(timeout=10)[1]
    assert "Traceback" not in errors
    assert len([line for line in errors.splitlines() if "broken off" in line]) == 1


def test_a_stream_that_was_closed_is_no_number_for_another_file(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    command = f"exec {sys.executable} -m knit.node <&- >&- 2>&-"
    process = subprocess.Popen(["/bin/sh", "-c", command], env=node.environment())
    try:
        until(lambda: node.reload_count == 1, 30)
        # A process that keeps its memory private shows its descriptors to root alone.
        if not os.geteuid():
            opened = [Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in range(3)]
            assert opened == [Path("/dev/null")] * 3
    finally:
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize("module", ["knit.node", "scheduler.main"])
@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&-", ">&- 2>&-"])
def test_a_wrong_setting_is_exit_2_also_where_nobody_can_be_told(node: Node, module: str, stream: str) -> None:
    command = f"exec {sys.executable} -m {module} {stream}"
    environment = node.environment(KNIT_VALKEY_URL="http://x", KNIT_DB_URL="http://x")
    ended = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, b"", b"")


ODD_WORDS = (
    *(
        b":abc\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*1\r\n*1\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"_\r\n",
        b"-\r\n",
        b"-LOADING x\r\n",
    ),
    *(b"-NOPERM\r\n", b"-LOADING x\r\n", b"$5\r\nabc", b"\0" * 100, b"HTTP/1.1 400 Bad\r\n\r\n", b"+OK\r\n"),
    *(b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n1\r\n", b"-MOVED 1 a:1\r\n", b"$262146\r\n" + b"x" * 262146 + b"\r\n"),
)
ODD_VALUES: tuple[object, ...] = (
    None,
    0,
    True,
    2**70,
    1e308,
    "",
    "\ud800",
    "/etc/passwd",
    "x" * 300_000,
    [[[[]]]],
    "9999-12-31T23:59:59Z",
)


def test_a_server_that_is_mostly_right_and_sometimes_mad_ends_no_node(node: Node) -> None:
    chance = random.Random(1)
    good = [pki.value(pki.pair(f"n{number}.test"), node.folder, f"n{number}", cert_id=number) for number in range(4)]
    server = HostileServer(lambda arrived: _mostly_right(arrived, chance, good))
    with closing(server):
        process = node.with_settings(valkey_url=f"{server.url}?socket_timeout=1").process(KNIT_WATCH_INTERVAL="0.02")
        until(lambda: node.files() == {f"n{number}{end}" for number in range(4) for end in (".pem", ".key")}, 60)
        time.sleep(4)
        assert process.poll() is None
        assert memory_mib(process.pid) < 60
        process.terminate()
        errors = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "PRIVATE KEY" not in errors
    assert node.reload_count < 20


def _mostly_right(arrived: bytes, chance: random.Random, good: list[bytes]) -> Iterator[bytes]:
    for command in arrived.split(b"*")[1:]:
        words = command.split(b"\r\n")
        if b"SETINFO" not in command and chance.random() < 0.03:
            yield chance.choice(ODD_WORDS)
        else:
            yield _right(words[2].upper() if len(words) > 2 else b"", command, chance, good)


def _right(name: bytes, command: bytes, chance: random.Random, good: list[bytes]) -> bytes:
    if name in {b"SMEMBERS", b"ZRANGEBYSCORE"}:
        return b"*4\r\n" + b"".join(_bulk(b"cert:%d" % number) for number in range(4))
    if name == b"SUBSCRIBE":
        return b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"
    if name != b"GETRANGE":
        return b"+OK\r\n"
    if b"revision" in command:
        return _bulk(chance.choice([b"%d" % chance.randrange(10**15), b"abc", b"-1", b"9" * 16]))
    value = json.loads(good[int(command.partition(b"cert:")[2][:1])])
    if chance.random() < 0.3:
        value[chance.choice(list(value))] = chance.choice(ODD_VALUES)
    return _bulk(json.dumps(value).encode())


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)
