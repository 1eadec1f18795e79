"""What a service manager hears of a node: a real process, and a real socket."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, until

WATCHDOG = 1.6
"""Seconds after which the manager would end the node."""

HANGING = """
import sys, time
from knit.flows.watch import Watch
from pathlib import Path

whole, hung = Watch.run, Path(sys.argv.pop(1))

def run(self, *, sweep):
    while hung.exists():
        time.sleep(0.05)
    return whole(self, sweep=sweep)

Watch.run = run
from knit.node import start
start.prepare()
from knit.node.__main__ import main
sys.exit(main())
"""


class Manager:
    """The manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def hear(self, within: float = 10) -> str | None:
        """The next message; None when none comes."""
        self._socket.settimeout(within)
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return None

    def silence(self, seconds: float) -> float:
        """The longest time between two signs of life while this many seconds pass."""
        until, last, longest = time.monotonic() + seconds, time.monotonic(), 0.0
        while (left := until - time.monotonic()) > 0:
            message = self.hear(left)
            assert message in {None, "WATCHDOG=1", "READY=1"}
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        return longest

    def close(self) -> None:
        self._socket.close()

    @property
    def variables(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "a path" else f"@knit-test-{tmp_path.name}-{time.time_ns()}"
    with closing(Manager(address)) as hearing:
        yield hearing


@pytest.fixture
def manager_at_a_path(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(str(tmp_path / "notify"))) as hearing:
        yield hearing


def heard_until(manager: Manager, wanted: str) -> list[str]:
    heard: list[str] = []
    while not heard or heard[-1] != wanted:
        message = manager.hear()
        assert message is not None, heard
        heard.append(message)
    return heard


def test_a_node_is_ready_after_its_first_pass_and_says_when_it_stops(
    node: Node, publisher: Publisher, manager: Manager
) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    process = node.process(**manager.variables)
    heard_until(manager, "READY=1")
    assert node.pair() == bundle
    process.send_signal(signal.SIGTERM)
    heard_until(manager, "STOPPING=1")
    assert process.wait(10) == 0


def test_a_node_that_waits_for_a_long_time_gives_signs_of_life(
    node: Node, publisher: Publisher, manager_at_a_path: Manager
) -> None:
    publisher.pair("cert:a", pki.pair())
    node.process(KNIT_WATCH_INTERVAL="600", **manager_at_a_path.variables)
    heard_until(manager_at_a_path, "READY=1")
    assert manager_at_a_path.silence(3 * WATCHDOG) < WATCHDOG / 2


def test_a_node_whose_valkey_is_away_is_ready_and_gives_signs_of_life(node: Node, manager_at_a_path: Manager) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        node.with_settings(valkey_url=url).process(KNIT_WATCH_INTERVAL="600", **manager_at_a_path.variables)
        heard_until(manager_at_a_path, "READY=1")
        # Long enough for the waits between two tries to hear hints to have become longer than the watchdog's.
        assert manager_at_a_path.silence(3 * WATCHDOG) < WATCHDOG / 2


def test_a_node_gives_signs_of_life_while_a_reload_takes_long_and_the_reload_hears_nothing_of_the_manager(
    node: Node, publisher: Publisher, manager_at_a_path: Manager
) -> None:
    seen = node.folder / "environment"
    publisher.pair("cert:a", pki.pair())
    node.process(KNIT_RELOAD_CMD=f"env > {seen}; sleep {3 * WATCHDOG}", **manager_at_a_path.variables)
    until(lambda: seen.exists() and seen.stat().st_size > 0)
    assert manager_at_a_path.silence(2 * WATCHDOG) < WATCHDOG / 2
    assert "NOTIFY_SOCKET" not in seen.read_text()
    assert "WATCHDOG" not in seen.read_text()


def test_a_loop_that_hangs_gives_no_sign_of_life(
    node: Node, publisher: Publisher, manager_at_a_path: Manager, tmp_path: Path
) -> None:
    publisher.pair("cert:a", pki.pair())
    hung = tmp_path / "hung"
    environment = node.environment(KNIT_WATCH_INTERVAL="0.3", **manager_at_a_path.variables)
    process = subprocess.Popen([sys.executable, "-c", HANGING, str(hung)], env=environment, stderr=subprocess.PIPE)
    try:
        heard_until(manager_at_a_path, "READY=1")
        assert manager_at_a_path.silence(WATCHDOG) < WATCHDOG / 2
        hung.touch()
        manager_at_a_path.silence(0.5)
        assert manager_at_a_path.hear(within=2 * WATCHDOG) is None
        hung.unlink()
        assert manager_at_a_path.hear() == "WATCHDOG=1"
    finally:
        process.kill()
        process.communicate()


def test_a_watchdog_that_is_meant_for_another_process_hears_nothing(
    node: Node, publisher: Publisher, manager_at_a_path: Manager
) -> None:
    publisher.pair("cert:a", pki.pair())
    node.process(**manager_at_a_path.variables, WATCHDOG_PID="1")
    assert heard_until(manager_at_a_path, "READY=1") == ["READY=1"]
    assert manager_at_a_path.hear(within=WATCHDOG) is None


def test_a_node_runs_where_the_manager_has_gone_or_does_not_listen(
    node: Node, publisher: Publisher, manager_at_a_path: Manager
) -> None:
    publisher.pair("cert:a", pki.pair())
    variables = manager_at_a_path.variables
    node.process(**variables)
    # Nobody reads, so that the socket's queue is full after some messages.
    until(lambda: node.reload_count == 1)
    manager_at_a_path.close()
    renewed = pki.pair(age=0.5)
    publisher.pair("cert:a", renewed, generation=2)
    until(lambda: node.reload_count == 2)
    assert node.pair() == renewed
