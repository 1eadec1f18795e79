"""A watcher that is told to look reads what is set again: it goes on with what is right, and with nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, until

ANEW = "settings have changed, starting anew"


class Watcher:
    """A process of the node, with its node file and the file of its Valkey's URL."""

    def __init__(self, node: Node, home: Path) -> None:
        self.file, self.url, self._log = home / "node.toml", home / "url", home / "log"
        self.file.write_text('name = "a"\n')
        self.file.chmod(0o600)
        self.url.write_text(node.settings.valkey_url)
        around = node.environment(
            KNIT_WATCH_INTERVAL="60", KNIT_NODE_FILE=str(self.file), KNIT_VALKEY_URL_FILE=str(self.url)
        )
        del around["KNIT_VALKEY_URL"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "knit.node"], env=around, stderr=log)

    def said(self, words: str) -> int:
        return self._log.read_text().count(words)

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@pytest.fixture
def watcher(node: Node, publisher: Publisher, home: Path) -> Iterator[Watcher]:
    publisher.pair("cert:a", pki.pair())
    watcher = Watcher(node, home)
    try:
        until(lambda: node.reload_count == 1)
        yield watcher
    finally:
        watcher.process.kill()
        watcher.process.wait()


def installs(node: Node, publisher: Publisher, generation: int) -> None:
    reloads, renewed = node.reload_count, pki.pair(age=1 / generation)
    publisher.pair("cert:a", renewed, generation=generation)
    until(lambda: node.reload_count == reloads + 1)
    assert node.pair() == renewed


def test_a_node_file_that_has_become_wrong_is_told_and_changes_nothing(
    watcher: Watcher, node: Node, publisher: Publisher
) -> None:
    watcher.file.write_text("nmae = 1\n")
    watcher.hang_up()
    until(lambda: watcher.said("settings refused, keeping those in use") == 1)
    assert watcher.said("line 1: nmae: no such key") == 1
    watcher.file.write_text('name = "b"\n')
    watcher.file.chmod(0o666)
    watcher.hang_up()
    until(lambda: watcher.said("settings refused, keeping those in use") == 2)
    assert watcher.said("must not be writable by its group or others") == 1
    installs(node, publisher, 2)
    assert watcher.said(ANEW) == 0


def test_what_has_changed_is_gone_on_with_by_the_same_process(
    watcher: Watcher, node: Node, publisher: Publisher
) -> None:
    watcher.file.write_text('name = "b"\n')
    watcher.hang_up()
    until(lambda: watcher.said(ANEW) == 1)
    installs(node, publisher, 2)
    watcher.url.write_text(f"{node.settings.valkey_url}?client_name=other\n")
    watcher.hang_up()
    until(lambda: watcher.said(ANEW) == 2)
    installs(node, publisher, 3)
    assert watcher.process.poll() is None
    watcher.process.terminate()
    assert watcher.process.wait(20) == 0


def test_what_has_not_changed_is_only_a_look(watcher: Watcher, node: Node, publisher: Publisher) -> None:
    watcher.hang_up()
    until(lambda: watcher.said("told to look at everything") == 1)
    installs(node, publisher, 2)
    assert watcher.said(ANEW) == 0
