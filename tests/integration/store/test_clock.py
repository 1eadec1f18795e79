"""The database's clock as a worker reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from knit.store import clock
from knit.store.clock import ServerClock
from tests.integration.store.conftest import Store


def test_it_is_the_databases_time_and_goes_on_without_asking(store: Store) -> None:
    read = ServerClock(store.database)
    first = read()
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=5)
    store.database.close()
    time.sleep(0.2)
    assert timedelta(seconds=0.2) <= read() - first < timedelta(seconds=5)


def test_it_asks_again_once_its_answer_is_old(store: Store) -> None:
    read = ServerClock(store.database)
    read()
    read._asked = (datetime(2020, 1, 1, tzinfo=UTC), time.monotonic() - clock.GOOD_FOR - 1)
    assert abs(read() - datetime.now(UTC)) < timedelta(seconds=5)
