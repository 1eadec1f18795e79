"""What a node is told, from its first moment on, also as process 1 and in a locale that knows no UTF-8."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rig.installation import BIN
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, listens, until

OLD_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def beginning(command: list[str], node: Node) -> subprocess.Popen[bytes]:
    """The node's process, as soon as its own code runs."""
    environment = {**node.environment(KNIT_WATCH_INTERVAL="60"), "PYTHONVERBOSE": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for line in process.stderr:
        if b"import 'knit.node.start'" in line:
            break
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("delay", [0.005, 0.05, 0.3])
def test_a_node_told_to_stop_while_it_starts_ends_as_later(
    node: Node, publisher: Publisher, number: int, delay: float
) -> None:
    publisher.pair("cert:a", pki.pair())
    process = beginning([sys.executable, "-m", "knit.node"], node)
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"Traceback" not in errors


MEANINGLESS = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGPOLL]


def test_signals_without_a_meaning_end_no_node_and_are_left_as_they_were_to_what_it_starts(
    node: Node, publisher: Publisher, tmp_path: Path
) -> None:
    shown = tmp_path / "ignored"
    publisher.pair("cert:a", pki.pair())
    show = f"grep SigIgn /proc/self/status > {shown}; echo x >> {node.reloads}"
    process = node.with_settings(reload_cmd=show).process(KNIT_WATCH_INTERVAL="0.2")
    until(lambda: node.reload_count == 1)
    for number in MEANINGLESS:
        process.send_signal(number)
        time.sleep(0.02)
    renewed = pki.pair(age=0.5)
    publisher.pair("cert:a", renewed, generation=2)
    until(lambda: node.reload_count == 2)
    assert node.pair() == renewed
    ignored = int(shown.read_text().split()[1], 16)
    assert not any(ignored >> (number - 1) & 1 for number in MEANINGLESS)


def test_a_node_told_to_stop_again_and_again_ends_as_if_told_once(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        process = node.process(KNIT_WATCH_INTERVAL="0.2")
        until(lambda pid=process.pid: listens(pid))  # type: ignore[misc]
        time.sleep(0.3)
        while process.poll() is None:
            process.send_signal(number)
        assert process.returncode == 0
        assert "Traceback" not in process.communicate()[1]


def test_what_the_command_is_told_is_told_to_the_node(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    process = beginning([str(BIN / "knit"), "watch"], node)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    # Told before it holds what it is told, it may end as any process does.
    assert process.returncode in {0, -signal.SIGTERM}


def test_a_hang_up_means_look_now(node: Node, publisher: Publisher) -> None:
    publisher.without_feed("cert:a", pki.value(pki.pair(), node.folder, generation=None))
    publisher.pair("cert:b", pki.pair(), name="other")
    process = node.process()
    until(lambda: node.reload_count == 1)
    time.sleep(0.5)
    for count in (2, 3):
        # No hint is given, and the next look at everything is ten minutes away.
        renewed = pki.pair(age=1 / count)
        publisher.without_feed("cert:a", pki.value(renewed, node.folder, generation=None))
        process.send_signal(signal.SIGHUP)
        until(lambda count=count: node.reload_count == count)  # type: ignore[misc]
        assert node.pair() == renewed
        time.sleep(0.3)
    publisher.pair("cert:b", pki.pair(age=0.1), generation=2, name="other")
    until(lambda: node.reload_count == 4)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_hang_ups_in_mid_deployment_tear_no_pair(node: Node, publisher: Publisher) -> None:
    pairs = {f"n{number}": pki.pair() for number in range(60)}
    for name, bundle in pairs.items():
        publisher.pair(f"cert:{name}", bundle, name=name)
    process = node.process()
    until(lambda: len(node.files()) > 4)
    for _ in range(30):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    until(lambda: node.files() == {f"{name}{end}" for name in pairs for end in (".pem", ".key")}, 20)
    until(lambda: node.reload_count >= 1)
    assert all(node.pair(name) == bundle for name, bundle in pairs.items())
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_hang_up_tries_an_owed_reload_at_once(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    process = node.with_settings(reload_cmd=f"echo x >> {node.reloads}; false").process()
    until(lambda: node.reload_count == 1)
    time.sleep(0.3)
    process.send_signal(signal.SIGHUP)
    until(lambda: node.reload_count == 2, 3)


def test_a_locale_without_utf_8_takes_all_paths(node: Node, publisher: Publisher) -> None:
    folder = node.folder / "größe-ключ"
    folder.mkdir()
    bundle = pki.pair()
    publisher.publish("cert:ä", pki.value(bundle, folder, "käse"))
    for roots in (str(folder), ""):
        done = subprocess.run(
            [sys.executable, "-m", "knit.node", "--once"],
            env=node.environment(**OLD_LOCALE, KNIT_WATCH_ROOTS=roots),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        assert (folder / "käse.key").read_bytes() == bundle.privkey
        (folder / "käse.key").unlink()


def _in_a_namespace(node: Node) -> subprocess.Popen[str]:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "knit.node"]
    return subprocess.Popen(command, env=node.environment(KNIT_WATCH_INTERVAL="0.5"), stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
def test_as_process_1_a_node_buries_what_reloads_leave_behind(node: Node, publisher: Publisher) -> None:
    node = node.with_settings(reload_cmd=f"sleep 0.2 & sleep 0.3 & echo x >> {node.reloads}")
    process = _in_a_namespace(node)
    try:
        for generation in range(1, 6):
            publisher.pair("cert:a", pki.pair(age=1 / generation), generation=generation)
            until(lambda count=generation: node.reload_count >= count)  # type: ignore[misc]
        (first,) = _children(process.pid)
        until(lambda: len(_children(first)) == 1)
        os.kill(first, signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
def test_as_process_1_a_node_that_is_killed_ends_with_the_code_of_a_shell(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    process = _in_a_namespace(node)
    try:
        until(lambda: node.reload_count == 1)
        (first,) = _children(process.pid)
        (child,) = _children(first)
        os.kill(child, signal.SIGKILL)
        assert process.wait(10) == 128 + signal.SIGKILL
    finally:
        process.kill()
        process.communicate()


def _children(pid: int) -> list[int]:
    """Dead ones too."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
