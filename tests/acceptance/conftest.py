"""The stage of each acceptance test. Its CA and its DNS server are its own, so that counts are its own too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.acceptance.scene import Scene, Servers
from tests.fix_rig import running
from tests.rig.installation import Installation
from tests.rig.knot import Knot
from tests.rig.pebble import Pebble, PebbleOptions
from tests.rig.scripted_ca.client import ScriptedCA
from tests.rig.valkey import Valkey


@pytest.fixture
def servers(knot: Knot, knot_pebble: Pebble, database_url: str, valkey: Valkey, queue_valkey: Valkey) -> Servers:
    """Pebble, and the session's Postgres and Valkeys, empty."""
    valkey.flush()
    queue_valkey.flush()
    return Servers(ca=knot_pebble, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)


@pytest.fixture
def scene(servers: Servers) -> Iterator[Scene]:
    """An installation on Pebble."""
    with Installation(settings=servers.settings()) as knit:
        yield Scene(servers=servers, knit=knit)


@pytest.fixture
def production(knot: Knot) -> Iterator[Pebble]:
    """A second CA that looks at the same DNS."""
    for server in running(lambda: Pebble(PebbleOptions(dns_server=knot.address))):
        yield server
        server.raise_if_wedged()


@pytest.fixture
def scripted_ca(knot: Knot) -> Iterator[ScriptedCA]:
    """A CA that can be told what to do, and that looks at the test's own DNS."""
    with ScriptedCA(dns_server=knot.address, default={"validation": "dns"}) as ca:
        yield ca


@pytest.fixture
def scripted(
    knot: Knot, scripted_ca: ScriptedCA, database_url: str, valkey: Valkey, queue_valkey: Valkey
) -> Iterator[Scene]:
    """An installation on the scripted CA."""
    with ExitStack() as stack:
        valkey.flush()
        queue_valkey.flush()
        servers = Servers(ca=scripted_ca, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)
        knit = stack.enter_context(Installation(settings=servers.settings()))
        yield Scene(servers=servers, knit=knit)
