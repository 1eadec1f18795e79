"""PostgreSQL: one server for the session, a database for each test, and a server of its own for rough tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from knit.store.database import Database
from rig.postgres import Postgres
from tests.fix_rig import running

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's server: do not stop it."""
    yield from running(Postgres)


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """A database of the test's own, empty."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def _tables(postgres: Postgres) -> str:
    """A database with knit's tables, to copy: making them costs many times as much."""
    Database.open(postgres.create_database("tables")).close()
    return "tables"


@pytest.fixture
def migrated_url(postgres: Postgres, _tables: str) -> Iterator[str]:
    """A database of the test's own, with knit's tables and nothing in them."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name, template=_tables)
    postgres.drop_database(name)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that this test alone uses, to stop, kill and restart."""
    yield from running(Postgres)
