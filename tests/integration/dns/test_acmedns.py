"""Names delegated by CNAME to acme-dns, validated by a real CA.

acme-dns itself is the fake one here: its API as documented, and its values in a DNS that the CA asks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knit.app.locks import KeyedLocks
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.prover import Dns01, Shared
from knit.errors import Refused
from knit.providers import acmedns
from knit.providers.base import Runtime, Values
from rig.dns_api.acmedns import FakeAcmeDns
from rig.dns_api.server import Request, Response
from rig.dns_world import World, Zone
from rig.pebble import Pebble, PebbleOptions
from tests.fix_rig import running
from tests.integration.acme.parties import Notes, Wanted, Worker

RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)


class Served(FakeAcmeDns):
    """Shows its values in a zone at once; the CA's resolver forgets, as the real one's TTL of 1 s makes it."""

    def __init__(self, world: World, zone: Zone) -> None:
        super().__init__()
        self._world = world
        self._zone = zone

    def handle(self, request: Request) -> Response:
        answer = super().handle(request)
        for fqdn in self.texts:
            self._zone.records[fqdn, "TXT"] = [f'"{value}"' for value in self.values(fqdn)]
        self._world.resolver.forget()
        return answer


@pytest.fixture
def server(world: World) -> Iterator[Served]:
    fake = Served(world, world.zone("auth.example.net"))
    with fake.serving():
        yield fake
    assert fake.complaints == []


@pytest.fixture
def ca(world: World) -> Iterator[Pebble]:
    options = PebbleOptions(dns_server=f"127.0.0.1:{world.port}", retry_after_authz=0, retry_after_order=0)
    for pebble in running(lambda: Pebble(options)):
        yield pebble
        pebble.raise_if_wedged()


def test_a_domain_is_registered_then_delegated_then_issued_with_its_wildcard(
    world: World, server: Served, ca: Pebble, tmp_path: Path
) -> None:
    zone = world.zone("knit.example")
    path = tmp_path / "accounts.json"
    settings = {"ACME_DNS_API_BASE": server.url, "ACME_DNS_STORAGE_PATH": str(path)}
    solver = acmedns.PROVIDER.solver(Values(settings), RUNTIME)
    resolvers = (f"127.0.0.1:{world.port}",)
    looking = Looking(resolvers=resolvers, timeout=2, recursive_check=False, authority_port=world.port)
    wanted, notes = Wanted(names=("knit.example", "*.knit.example")), Notes()
    shared = Shared(delegation=DnsDelegation(looking, time.sleep), exclusive=KeyedLocks())
    prover = Dns01("acmedns", solver, notes, shared)

    with pytest.raises(Refused, match=r"must have the record _acme-challenge\.knit\.example\. CNAME"):
        Worker(ca).issue(wanted, notes, prover)
    fulldomain = json.loads(path.read_text())["knit.example"]["fulldomain"]
    zone.add("_acme-challenge.knit.example", "CNAME", f"{fulldomain}.")
    world.resolver.forget()

    wanted.check(Worker(ca).issue(wanted, notes, prover, notes.order_url))
    assert len(server.values(fulldomain)) == 2
    assert notes.steps.count("removed") == notes.steps.count("presenting")
