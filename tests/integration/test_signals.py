"""What the centre's processes do at signals: end in order, with their children, or go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from knit.signals import MEANINGLESS
from rig.installation import BIN, Installation
from rig.process import Process, wait_until

HARMLESS = (*MEANINGLESS, signal.SIGWINCH, signal.SIGPIPE, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG)
OLD_COMMAND = ["dramatiq", "workers.main:setup", "--queues", "control", "--processes", "1", "--threads", "1"]
STOPS_WITHIN = 10.0


@pytest.fixture
def knit(database_url: str, queue_url: str, valkey_url: str) -> Iterator[Installation]:
    settings = {
        "KNIT_DB_URL": database_url,
        "KNIT_QUEUE_URL": queue_url,
        "KNIT_VALKEY_URL": valkey_url,
        "KNIT_ACME_DIRECTORY": "https://127.0.0.1:1/dir",
        "KNIT_ACME_EMAIL": "ops@knit.example",
        "KNIT_RENEW_CONCURRENCY": "2",
    }
    with Installation(settings=settings) as installation:
        yield installation


def there(knit: Installation) -> int:
    """Worker processes that say so in PostgreSQL."""
    try:
        with psycopg.connect(knit.settings["KNIT_DB_URL"]) as connection:
            return int(connection.execute("select count(*) from knit_workers").fetchall()[0][0])
    except psycopg.errors.UndefinedTable:
        return 0


def working(knit: Installation, name: str) -> Process:
    """A process of this name of the Procfile, or `knit renew`, that has begun its work."""
    process = knit.run(name, [str(BIN / "knit"), "renew"], KNIT_QUEUE_URL="") if name == "renew" else knit.start(name)
    if name == "scheduler":
        wait_until(lambda: signal.SIGQUIT in caught(process.pid), f"{name} has begun", seconds=30)
    else:
        wait_until(lambda: there(knit) == 1, f"{name} is there", seconds=30)
    return process


def caught(pid: int) -> set[int]:
    """Numbers of the signals that the process has handlers for."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def group(process: Process) -> set[int]:
    """Living processes of its group, without itself."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, after = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, pgrp = after.split()[:3]
        if int(pgrp) == process.pid and state != "Z":
            found.add(int(stat.parent.name))
    return found - {process.pid}


EVERY = pytest.mark.parametrize("name", ["worker-control", "worker-renew", "scheduler", "renew"])


@EVERY
@pytest.mark.parametrize("whole_group", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_process_ends_in_order_with_its_children(
    knit: Installation, name: str, number: signal.Signals, whole_group: bool
) -> None:
    process = working(knit, name)
    if whole_group:
        os.killpg(process.pid, number)
    else:
        process.send(number)
    assert process.wait(seconds=STOPS_WITHIN) == 0, process.text()
    assert group(process) == set()
    assert there(knit) == 0
    assert "Traceback" not in process.text()


@EVERY
def test_a_signal_without_a_meaning_ends_no_process_and_no_child(knit: Installation, name: str) -> None:
    process = working(knit, name)
    children = group(process)
    for number in HARMLESS:
        os.killpg(process.pid, number)
    # A signal that ends a process ends it before the next one is answered.
    process.send(signal.SIGHUP)
    if name.startswith("worker"):
        wait_until(lambda: bool(group(process)) and not group(process) & children, "new workers", seconds=30)
        wait_until(lambda: there(knit) == 1, "only the new ones are there", seconds=30)
    assert process.is_running(), process.text()
    process.send(signal.SIGTERM)
    assert process.wait(seconds=STOPS_WITHIN) == 0, process.text()
    assert group(process) == set()


@pytest.mark.parametrize("old", [False, True])
def test_workers_stop_in_order_when_the_process_that_minds_them_is_killed(knit: Installation, old: bool) -> None:
    process = knit.run("old", OLD_COMMAND) if old else knit.start("worker-control")
    wait_until(lambda: there(knit) == 1, "it is there", seconds=30)
    assert group(process)
    process.send(signal.SIGKILL)
    process.wait(seconds=STOPS_WITHIN)
    wait_until(lambda: not group(process), "no worker is left", seconds=STOPS_WITHIN)
    assert there(knit) == 0, "it has said so"
