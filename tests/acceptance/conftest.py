"""The stage of each acceptance test. Its CA and its DNS server are its own, so that counts are its own too.

Commands that run to their end, schedulers and workers are forked from a process that has imported what they need
(rig/forks.py). The installed program is started where a start, signals, surroundings or what a process shows of itself
are the subject: all of test_secrets, test_odd_surroundings, test_demo; whatever a test
starts by `Installation.run` (test_one_process, Ctrl-C in test_waiting, the daemons of `knit renew`); and every command
whose environment differs in what the interpreter reads (locale, PYTHON*).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from rig.bind import Bind
from rig.installation import Installation
from rig.knot import Knot
from rig.pebble import Pebble, PebbleOptions
from rig.postgres import Postgres
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import Scene, Servers
from tests.fix_rig import running

TAIL = 10_000
"""Characters of each process's log that are worth showing."""


def on_stage(servers: Servers, *, forks: bool = True) -> Iterator[Scene]:
    """An installation on these servers, the Valkeys emptied."""
    servers.valkey.flush()
    servers.queue.flush()
    with Installation(settings=servers.settings(), forks=forks) as knit:
        yield Scene(servers=servers, knit=knit)
        # Shown when the test has failed.
        sys.stdout.write("\n".join(f"--- {process.name}\n{process.text()[-TAIL:]}" for process in knit.processes))


@pytest.fixture
def servers(knot: Knot, knot_pebble: Pebble, database_url: str, valkey: Valkey, queue_valkey: Valkey) -> Servers:
    """Pebble, and the session's Postgres and Valkeys."""
    return Servers(ca=knot_pebble, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)


@pytest.fixture
def scene(servers: Servers) -> Iterator[Scene]:
    """An installation on Pebble."""
    yield from on_stage(servers)


@pytest.fixture
def production(knot: Knot) -> Iterator[Pebble]:
    """A second CA that looks at the same DNS."""
    for server in running(lambda: Pebble(PebbleOptions(dns_server=knot.address))):
        yield server
        server.raise_if_wedged()


@pytest.fixture
def own_queue_scene(
    bind: Bind, scripted_ca: ScriptedCA, database_url: str, valkey: Valkey, own_valkey: Valkey
) -> Iterator[Scene]:
    """A scene whose queue may be stopped."""
    yield from on_stage(Servers(ca=scripted_ca, dns=bind, database=database_url, valkey=valkey, queue=own_valkey))


@pytest.fixture
def scripted(
    bind: Bind, scripted_ca: ScriptedCA, database_url: str, valkey: Valkey, queue_valkey: Valkey
) -> Iterator[Scene]:
    """An installation on the scripted CA."""
    servers = Servers(ca=scripted_ca, dns=bind, database=database_url, valkey=valkey, queue=queue_valkey)
    yield from on_stage(servers)


@pytest.fixture
def own_postgres_scene(
    bind: Bind, scripted_ca: ScriptedCA, own_postgres: Postgres, valkey: Valkey, queue_valkey: Valkey
) -> Iterator[Scene]:
    """The same with a Postgres that may be stopped."""
    database = own_postgres.create_database("knit")
    yield from on_stage(Servers(ca=scripted_ca, dns=bind, database=database, valkey=valkey, queue=queue_valkey))


@pytest.fixture
def own_valkey_scene(
    bind: Bind, scripted_ca: ScriptedCA, database_url: str, own_valkey: Valkey, queue_valkey: Valkey
) -> Iterator[Scene]:
    """The same with a certificate Valkey that may be stopped."""
    yield from on_stage(Servers(ca=scripted_ca, dns=bind, database=database_url, valkey=own_valkey, queue=queue_valkey))
