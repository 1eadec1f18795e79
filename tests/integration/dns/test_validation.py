"""Real DNS servers that a real CA asks: what a solver sets there is what issues the certificate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from knit.app.locks import KeyedLocks
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.prover import Dns01, Shared
from knit.providers.base import Runtime, Values
from knit.providers.registry import provider
from rig.bind import Bind
from rig.knot import Knot
from rig.pebble import Pebble, PebbleOptions
from rig.powerdns import PowerDns
from tests.fix_rig import running
from tests.integration.acme.parties import Notes, Wanted, Worker

RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)
NAMES = ("knit.example", "*.knit.example", "www.knit.example")


def by_update(server: Bind | Knot) -> dict[str, str]:
    return {
        "DNSUPDATE_NAMESERVER": server.address,
        "DNSUPDATE_TSIG_KEY": server.key.name,
        "DNSUPDATE_TSIG_SECRET": server.key.secret,
        "DNSUPDATE_TSIG_ALGORITHM": server.key.algorithm,
    }


def by_api(server: PowerDns) -> dict[str, str]:
    return {"PDNS_API_URL": server.url, "PDNS_API_KEY": server.key}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A server, the provider code that writes to it, and what a user would set."""

    make: Callable[..., Bind | Knot | PowerDns]
    code: str
    settings: Callable[..., dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A running server, with the prover's settings for it."""

    server: Bind | Knot | PowerDns
    kind: Kind

    def prover(self, notes: Notes) -> Dns01:
        """Waits until the server itself shows the values, as in production."""
        port = self.server.port
        looking = Looking(resolvers=(self.server.address,), timeout=2, recursive_check=False, authority_port=port)
        shared = Shared(delegation=DnsDelegation(looking, time.sleep), exclusive=KeyedLocks())
        found = provider(self.kind.code).solver(Values(self.kind.settings(self.server)), RUNTIME)
        return Dns01(self.kind.code, found, notes, shared)


KINDS = {
    "Knot": Kind(make=Knot, code="dnsupdate", settings=by_update),
    "BIND": Kind(make=Bind, code="dnsupdate", settings=by_update),
    "PowerDNS": Kind(make=PowerDns, code="pdns", settings=by_api),
    "PowerDNS-primary": Kind(make=lambda *zones: PowerDns(*zones, kind="Master"), code="pdns", settings=by_api),
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    for server in running(lambda: request.param.make("knit.example", "deep.knit.example")):
        yield Site(server=server, kind=request.param)


@pytest.fixture
def ca(site: Site) -> Iterator[Pebble]:
    """A CA that asks this very server."""
    options = PebbleOptions(dns_server=site.server.address, retry_after_authz=0, retry_after_order=0)
    for pebble in running(lambda: Pebble(options)):
        yield pebble
        pebble.raise_if_wedged()


def test_a_name_its_wildcard_and_a_name_below_are_issued_and_nothing_is_left(site: Site, ca: Pebble) -> None:
    wanted, notes = Wanted(names=NAMES), Notes()
    wanted.check(Worker(ca).issue(wanted, notes, site.prover(notes)))
    assert notes.steps.count("presenting") == notes.steps.count("removed") == len(NAMES)
    assert [site.server.txt(f"_acme-challenge.{name}") for name in ("knit.example", "www.knit.example")] == [[], []]


def test_a_name_in_a_zone_below_is_written_into_that_zone(site: Site, ca: Pebble) -> None:
    wanted, notes = Wanted(names=("a.deep.knit.example",)), Notes()
    wanted.check(Worker(ca).issue(wanted, notes, site.prover(notes)))
    assert notes.steps.count("removed") == 1
