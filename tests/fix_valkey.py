"""Valkey: one server for the session, emptied for each test, and a server of its own for rough tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from knit.valkey.connect import Link, connect
from rig.valkey import Valkey
from tests.fix_rig import running


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """The session's server for published values: do not stop it."""
    yield from running(Valkey)


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    """The session's server, empty."""
    valkey.flush()
    return valkey.url


@pytest.fixture
def link(valkey_url: str) -> Iterator[Link]:
    """The centre's way to the session's server."""
    link = connect(valkey_url, name="knit-test")
    yield link
    link.close()


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server that this test alone uses, to stop, kill and restart."""
    yield from running(Valkey)


@pytest.fixture(scope="session")
def queue_valkey() -> Iterator[Valkey]:
    """The session's server for queues: never the one that holds certificates."""
    yield from running(Valkey)


@pytest.fixture
def queue_url(queue_valkey: Valkey) -> str:
    """The session's queue server, empty."""
    queue_valkey.flush()
    return queue_valkey.url
