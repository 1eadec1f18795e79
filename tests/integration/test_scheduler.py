"""One effective tick per interval, however many schedulers run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import LiteralString

import pytest
import redis

from knit.core import agenda
from knit.errors import Unreachable
from knit.flows.tick import Ticker
from knit.store.database import Database
from knit.store.leases.leases import Leases
from knit.store.passes.agenda import Agendas
from knit.store.served.records import NodeRecords
from rig.debian import unpacked
from rig.installation import Installation
from rig.ports import free_port
from rig.process import MissingError, wait_until

CONTROL = "dramatiq:control"
HOURS = timedelta(hours=12)


@pytest.fixture
def knit(migrated_url: str, queue_url: str) -> Iterator[Installation]:
    settings = {"KNIT_DB_URL": migrated_url, "KNIT_QUEUE_URL": queue_url, "KNIT_RENEW_INTERVAL": "1s"}
    with Installation(settings=settings) as installation:
        yield installation


def ticks(queue_url: str) -> int:
    """Passes that were asked for."""
    with redis.Redis.from_url(queue_url) as client:
        return sum(b'"reconcile"' in message for message in client.hvals(f"{CONTROL}.msgs"))


def test_the_first_tick_comes_at_once_and_then_one_per_interval(knit: Installation, queue_url: str) -> None:
    knit.start("scheduler", KNIT_RENEW_INTERVAL="1h")
    wait_until(lambda: ticks(queue_url) == 1, "the first tick", seconds=15)


def test_two_schedulers_tick_like_one(knit: Installation, queue_url: str) -> None:
    first = knit.start("scheduler")
    second = knit.start("scheduler")
    wait_until(lambda: ticks(queue_url) >= 1, "a tick", seconds=15)
    before, began = ticks(queue_url), time.monotonic()
    time.sleep(5)
    made, passed = ticks(queue_url) - before, time.monotonic() - began
    assert passed - 2 <= made <= passed + 2
    assert first.is_running()
    assert second.is_running()


def test_when_the_ticking_scheduler_stops_the_other_takes_over_at_once(knit: Installation, queue_url: str) -> None:
    first = knit.start("scheduler", KNIT_RENEW_INTERVAL="1h")
    wait_until(lambda: ticks(queue_url) == 1, "the first tick", seconds=15)
    second = knit.start("scheduler", KNIT_RENEW_INTERVAL="1h")
    time.sleep(2)
    assert ticks(queue_url) == 1
    first.send(signal.SIGTERM)
    assert first.wait(seconds=10) == 0
    wait_until(lambda: ticks(queue_url) == 2, "the other's tick", seconds=15)
    assert second.is_running()


def test_a_hang_up_asks_for_a_pass_and_a_quit_ends_a_scheduler_in_order(knit: Installation, queue_url: str) -> None:
    scheduler = knit.start("scheduler", KNIT_RENEW_INTERVAL="1h")
    wait_until(lambda: ticks(queue_url) == 1, "the first tick", seconds=15)
    scheduler.send(signal.SIGHUP)
    wait_until(lambda: ticks(queue_url) == 2, "the tick that was asked for", seconds=15)
    assert scheduler.is_running()
    scheduler.send(signal.SIGQUIT)
    assert scheduler.wait(seconds=10) == 0


def test_a_scheduler_that_was_paused_ticks_once_for_all_it_missed(knit: Installation, queue_url: str) -> None:
    scheduler = knit.start("scheduler", KNIT_RENEW_INTERVAL="2s")
    wait_until(lambda: ticks(queue_url) >= 1, "the first tick", seconds=15)
    scheduler.pause()
    before = ticks(queue_url)
    time.sleep(7)
    scheduler.resume()
    time.sleep(1)
    assert ticks(queue_url) - before in {1, 2}


def test_a_dead_schedulers_lease_runs_out_and_another_ticks(migrated_url: str) -> None:
    sent: list[str] = []
    with Database.open(migrated_url, connections=2) as database:
        dead = Leases(database, lifetime=2, refresh_every=60)
        gone = Ticker(dead, Agendas(database), lambda: sent.append("dead"), HOURS)
        gone.look()
        alive = Leases(database, lifetime=30, refresh_every=10)
        ticker = Ticker(alive, Agendas(database), lambda: sent.append("alive"), HOURS)
        ticker.look()
        assert sent == ["dead"]
        time.sleep(2.2)
        ticker.look()
        assert sent == ["dead", "alive"]
        ticker.close()
        gone.close()
        for leases in (dead, alive):
            leases.stop()


A_REVOCATION = """
insert into knit_revocations (cert_id, names_key, serial, issuer, directory, valkey_key, not_after, reason, replace)
values (7, 'a', 'f', 'acme', 'https://ca', 'a', now() + interval '1 day', 'superseded', false)
"""


def test_the_scheduler_has_cas_asked_and_reports_collected_once_a_minute(database_url: str) -> None:
    sent: list[str] = []
    with Database.open(database_url, connections=2) as database:
        planned(database, "check_at", "30 days")
        NodeRecords(database).settle([])
        leases = Leases(database)
        ticker = Ticker(leases, Agendas(database), lambda: sent.append("pass"), HOURS, sent.append)
        ticker.look()
        assert sent == ["pass"]
        database.write("insert into knit_ari (cert_id, ari_id) values (7, 'a.b')")
        ticker.look()
        ticker.look()
        assert sent == ["pass", "poll"]
        database.write(A_REVOCATION)
        ticker.look()
        ticker.look()
        assert sent == ["pass", "poll", "revoke"]
        database.write("update knit_marks set done_at = now() - interval '1 minute' where name = 'reports collected'")
        ticker.look()
        ticker.look()
        assert sent == ["pass", "poll", "revoke", "collect"]
        ticker.close()
        leases.stop()


@contextmanager
def ticking(database: Database, sent: list[str], interval: timedelta = HOURS) -> Iterator[Ticker]:
    leases = Leases(database)
    ticker = Ticker(leases, Agendas(database), lambda: sent.append("pass"), interval)
    yield ticker
    ticker.close()
    leases.stop()


def planned(database: Database, column: LiteralString, at: str) -> None:
    """A certificate that has to be looked at then."""
    database.write(
        "insert into knit_certs (id, domains, provider, valkey_key, cert_path, key_path) "
        "values (7, 'a', 'b', 'c', 'd', 'e')"
    )
    database.write(
        f"insert into knit_schedule (cert_id, {column}) values (7, now() + %(at)s::interval)",
        {"at": at},
    )


@pytest.mark.parametrize("column", ["check_at", "retry_at"])
def test_a_pass_is_asked_for_when_a_planned_instant_comes_however_long_the_interval(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch, column: LiteralString
) -> None:
    monkeypatch.setattr(agenda, "CLOSEST", timedelta(seconds=1))
    sent: list[str] = []
    with Database.open(migrated_url, connections=2) as database, ticking(database, sent) as ticker:
        ticker.look()
        database.write("insert into knit_marks values ('pass done', now())")
        planned(database, column, "2 seconds")
        for _ in range(3):
            ticker.look()
        assert len(sent) == 1
        time.sleep(2.1)
        for _ in range(3):
            ticker.look()
    assert len(sent) == 2, "one pass for one instant"


def test_a_pass_that_is_not_done_is_asked_for_again_but_not_at_once(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(agenda, "PATIENCE", timedelta(seconds=0.5))
    sent: list[str] = []
    with Database.open(migrated_url, connections=2) as database, ticking(database, sent) as ticker:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            ticker.look()
            time.sleep(0.1)
        # At 0, 0.5, 1.5, 3.5 seconds.
        assert 3 <= len(sent) <= 5
        assert "is worker-control running?" in caplog.text
        database.write("insert into knit_marks values ('pass done', now())")
        done = len(sent)
        for _ in range(10):
            ticker.look()
            time.sleep(0.1)
        assert len(sent) == done


def test_changes_in_a_row_bring_one_pass_soon_after_the_last(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "SETTLED", timedelta(seconds=1))
    sent: list[str] = []
    with Database.open(migrated_url, connections=2) as database, ticking(database, sent) as ticker:
        ticker.look()
        for _ in range(4):
            Agendas(database).change()
            ticker.look()
            time.sleep(0.2)
        assert len(sent) == 1, "only the one of the start"
        time.sleep(1)
        for _ in range(3):
            ticker.look()
    assert len(sent) == 2


def test_a_list_that_goes_on_changing_is_not_waited_for_for_ever(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "LONGEST", timedelta(seconds=1))
    sent: list[str] = []
    with Database.open(migrated_url, connections=2) as database, ticking(database, sent) as ticker:
        ticker.look()
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            Agendas(database).change()
            ticker.look()
            time.sleep(0.1)
    assert 3 <= len(sent) <= 5


def test_a_tick_that_could_not_be_sent_is_sent_as_soon_as_it_can(migrated_url: str) -> None:
    sent: list[str] = []
    away = [True, True]

    def send() -> None:
        if away.pop() if away else False:
            message = "the queue does not answer"
            raise Unreachable(message)
        sent.append("reconcile")

    with Database.open(migrated_url, connections=2) as database:
        leases = Leases(database)
        ticker = Ticker(leases, Agendas(database), send, HOURS)
        for _ in range(5):
            with suppress(Unreachable):
                ticker.look()
        ticker.close()
        leases.stop()
    assert sent == ["reconcile"]


def test_without_its_queue_setting_a_scheduler_does_not_start(knit: Installation) -> None:
    process = knit.start("scheduler", KNIT_QUEUE_URL="")
    assert process.wait(seconds=15) == 2
    assert process.text().splitlines() == [
        "knit scheduler: KNIT_QUEUE_URL is not set: scheduler and workers meet only there"
    ]


def test_without_postgres_a_scheduler_ends_with_one_line(knit: Installation) -> None:
    process = knit.start("scheduler", KNIT_DB_URL=f"postgres://knit:hunter2@127.0.0.1:{free_port()}/knit")
    assert process.wait(seconds=15) == 1
    assert len(process.text().splitlines()) == 1
    assert "hunter2" not in process.text()


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A wall clock for a process of its own, set from here; what measures time by itself goes on undisturbed."""
    try:
        root = unpacked("libfaketime")
    except MissingError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    (library,) = root.rglob("libfaketime.so.1")
    clock = Clock(library, tmp_path / "clock")
    clock.set("+0")
    return clock


@dataclass(frozen=True, slots=True)
class Clock:
    """`file` says by how much the clock is wrong."""

    library: Path
    file: Path

    def set(self, offset: str) -> None:
        """From now on the clock is wrong by this much."""
        self.file.write_text(f"{offset}\n")

    @property
    def environment(self) -> dict[str, str]:
        """For the process that has this clock."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@pytest.mark.parametrize("offset", ["-2h", "-3y", "+2h", "+50y"])
def test_a_clock_that_is_set_holds_nothing_up(knit: Installation, queue_url: str, clock: Clock, offset: str) -> None:
    scheduler = knit.start("scheduler", KNIT_RENEW_INTERVAL="2s", **clock.environment)
    wait_until(lambda: ticks(queue_url) >= 2, "the first ticks", seconds=20)
    clock.set(offset)
    time.sleep(3)
    before = ticks(queue_url)
    wait_until(lambda: ticks(queue_url) >= before + 2, "ticks after the clock was set", seconds=20)
    assert scheduler.is_running()
