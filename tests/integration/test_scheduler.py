"""One effective tick per interval, however many schedulers run."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
import redis

from knit.errors import Unreachable
from knit.flows.tick import Ticker
from knit.store.database import Database
from knit.store.leases import Leases
from tests.rig.installation import Installation
from tests.rig.ports import free_port
from tests.rig.process import wait_until

CONTROL = "dramatiq:control"


@pytest.fixture
def knit(database_url: str, queue_url: str) -> Iterator[Installation]:
    settings = {"KNIT_DB_URL": database_url, "KNIT_QUEUE_URL": queue_url, "KNIT_RENEW_INTERVAL": "1s"}
    with Installation(settings=settings) as installation:
        yield installation


def ticks(queue_url: str) -> int:
    with redis.Redis.from_url(queue_url) as client:
        return int(client.llen(CONTROL))


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


def test_a_scheduler_that_was_paused_ticks_once_for_all_it_missed(knit: Installation, queue_url: str) -> None:
    scheduler = knit.start("scheduler", KNIT_RENEW_INTERVAL="2s")
    wait_until(lambda: ticks(queue_url) >= 1, "the first tick", seconds=15)
    scheduler.pause()
    before = ticks(queue_url)
    time.sleep(7)
    scheduler.resume()
    time.sleep(1)
    assert ticks(queue_url) - before in {1, 2}


def test_a_dead_schedulers_lease_runs_out_and_another_ticks(database_url: str) -> None:
    sent: list[str] = []
    with Database.open(database_url, connections=2) as database:
        dead = Leases(database, lifetime=2, refresh_every=60)
        gone = Ticker(dead, lambda: sent.append("dead"))
        gone.look()
        alive = Leases(database, lifetime=30, refresh_every=10)
        ticker = Ticker(alive, lambda: sent.append("alive"))
        ticker.tick()
        assert sent == ["dead"]
        time.sleep(2.2)
        ticker.look()
        assert sent == ["dead", "alive"]
        ticker.close()
        gone.close()
        for leases in (dead, alive):
            leases.stop()


def test_a_tick_that_could_not_be_sent_is_sent_as_soon_as_it_can(database_url: str) -> None:
    sent: list[str] = []
    away = [True, True]

    def send() -> None:
        if away.pop() if away else False:
            message = "the queue does not answer"
            raise Unreachable(message)
        sent.append("reconcile")

    with Database.open(database_url, connections=2) as database:
        leases = Leases(database)
        ticker = Ticker(leases, send)
        for _ in range(5):
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
