"""knit through PgBouncer, in both modes that people run, without a word about it in the settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC

import psycopg
import pytest

from knit.errors import CredentialsRejected, KnitError, Misconfigured, Unreachable
from knit.store.database import Database
from rig.pgbouncer import PgBouncer
from rig.postgres import Postgres
from tests.integration.store.conftest import Store

IGNORES = "ignore_startup_parameters = options, extra_float_digits"
MODES = (("session", ""), ("transaction", ""), ("session", IGNORES), ("transaction", IGNORES))
_numbers = itertools.count()


@pytest.fixture(scope="module", params=MODES, ids=lambda mode: f"{mode[0]} {mode[1][:6]}")
def pooler(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[PgBouncer]:
    made = PgBouncer(postgres, *request.param)
    made.start()
    yield made
    made.close()


@pytest.fixture
def pooled(pooler: PgBouncer, postgres: Postgres) -> Iterator[str]:
    """A database of the test's own, through the pooler."""
    name = f"pooled_{next(_numbers)}"
    postgres.create_database(name)
    yield pooler.url_of(name)
    postgres.drop_database(name)


def test_the_whole_way_of_a_certificate_goes_through_a_pooler(pooled: str) -> None:
    with Database.open(pooled, connections=4) as database:
        store = Store(database)
        specs = [store.add(number) for number in range(1, 12)]
        for spec in specs:
            store.publish(spec)
            store.plan(spec)
        assert store.candidate_ids() == []
        issued = store.load(specs[0].id).state.issued
        assert issued is not None
        assert issued.issued_at.tzinfo is UTC
        store.leases.stop()


def test_nothing_is_prepared_and_nothing_is_set_for_whoever_comes_next(pooled: str) -> None:
    with Database.open(pooled, connections=3) as database:
        with ThreadPoolExecutor(6) as threads:
            asked = [threads.submit(database.rows, "select 1 as one, pg_sleep(0.01)") for _ in range(90)]
            assert all(each.result()[0]["one"] == 1 for each in asked)
        with psycopg.connect(pooled, autocommit=True) as other:
            row = other.execute("select count(*) from pg_prepared_statements").fetchone()
            assert row == (0,)
            row = other.execute("select current_setting('statement_timeout'), current_setting('jit')").fetchone()
            assert row == ("0", "on")


def test_a_statement_through_a_pooler_has_an_end_too(pooled: str) -> None:
    with Database.open(pooled, connections=2) as database:
        with pytest.raises(Unreachable, match="in time"):
            database.write("select pg_sleep(30)")
        with psycopg.connect(pooled, autocommit=True) as other:
            row = other.execute("select count(*) from pg_stat_activity where query like '%pg_sleep(30)%'").fetchone()
            assert row == (1,), "it was cancelled; this question itself is the one that is seen"


def test_settings_that_no_pooler_passes_on_are_refused_in_one_line(pooled: str) -> None:
    with pytest.raises(Misconfigured, match="search_path cannot be set through a pooler") as caught:
        Database.open(f"{pooled}?search_path=other")
    assert "\n" not in str(caught.value)


def test_a_database_that_the_pooler_does_not_know_is_told_in_one_line(pooler: PgBouncer) -> None:
    with pytest.raises(KnitError) as caught:
        Database.open(pooler.url_of("nowhere"))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, Misconfigured | CredentialsRejected)
