"""PostgreSQL: one server for the session, an empty database for each test, and a server of its own for rough tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

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


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that this test alone uses, to stop, kill and restart."""
    yield from running(Postgres)
