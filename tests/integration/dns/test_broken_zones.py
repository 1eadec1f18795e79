"""Each broken zone gets the right sentence: before an order from the check, and from a renewal that fails."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from knit.app.locks import KeyedLocks
from knit.core.caa import CaaIssuer
from knit.core.findings import Finding, Verdict, failed, judge
from knit.dns.check import Probe, gather
from knit.dns.delegation import DnsDelegation
from knit.dns.prover import Dns01, Shared
from knit.errors import KnitError
from knit.ports.solving import Timing
from knit.providers.base import Runtime
from knit.providers.desec import Desec
from rig.dns_world import World
from rig.scripted_ca.client import ScriptedCA
from tests.integration.acme.parties import Notes, Wanted, Worker
from tests.integration.dns.broken import SECOND, US, ZONES, Broken, Site
from tests.integration.dns.hosted import HostedDesec

Make = Callable[..., DnsDelegation]
WHO = CaaIssuer(identities=frozenset({"ca.example"}), account_uri=US)
RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)
TIMING = Timing(timeout=0.5, interval=0.1, ttl=3600)


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    zone = world.zone("example.org")
    desec = HostedDesec(world)
    desec.add_zone("example.org")
    with desec.serving():
        yield Site(world=world, zone=zone, desec=desec)
    assert desec.complaints == []


def looking(make: Make, site: Site, broken: Broken) -> DnsDelegation:
    settings = dict(broken.looking)
    if settings.pop("two", False):
        settings["resolvers"] = tuple(f"{host}:{site.world.port}" for host in ("127.0.0.1", SECOND))
    return make(**{"timeout": 0.3, **settings})


def solver(site: Site) -> Desec:
    return Desec(HostedDesec.token, TIMING, RUNTIME, url=site.desec.url)


def checked(site: Site, delegation: DnsDelegation, name: str) -> list[Finding]:
    probe = Probe(code="desec", solver=solver(site), exclusive=KeyedLocks())
    return judge(gather(name, delegation, probe), WHO)


def renewed(site: Site, delegation: DnsDelegation, ca: ScriptedCA, name: str) -> Notes:
    """One issuance as a worker does it; raises what ends it."""
    notes = Notes()
    shared = Shared(delegation=delegation, exclusive=KeyedLocks())
    wanted = Wanted(names=(name,))
    wanted.check(Worker(ca).issue(wanted, notes, Dns01("desec", solver(site), notes, shared)))
    return notes


each = pytest.mark.parametrize("broken", ZONES, ids=lambda broken: broken.name)


def test_the_zone_is_whole_before_it_is_broken(site: Site, delegation: Make, ca: ScriptedCA) -> None:
    findings = checked(site, delegation(), "example.org")
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert renewed(site, delegation(), ca, "example.org").steps.count("removed") == 1


@each
def test_the_check_says_it_in_one_line(site: Site, delegation: Make, broken: Broken) -> None:
    broken.how(site)
    before = {place: list(values) for place, values in site.zone.records.items()}
    findings = checked(site, looking(delegation, site, broken), broken.domain)
    told = [finding for finding in findings if finding.subject.startswith(broken.line)]
    assert [finding.verdict for finding in told] == [broken.verdict], findings
    assert re.search(broken.check, told[0].text), told[0].text
    assert "\n" not in told[0].text
    assert failed(findings) == (broken.renewal is not None or broken.verdict == "failed"), findings
    assert site.zone.records == before, "the probe value is gone"


@each
def test_a_renewal_fails_with_the_same_before_the_ca_looks(
    site: Site, delegation: Make, ca: ScriptedCA, broken: Broken
) -> None:
    broken.how(site)
    if broken.ca is not None:
        detail = "CAA record for example.org prevents issuance"
        ca.behave(authz_problem={"type": broken.ca, "detail": detail, "status": 403})
    before = {place: list(values) for place, values in site.zone.records.items()}
    prove = looking(delegation, site, broken)
    if broken.renewal is None:
        assert renewed(site, prove, ca, broken.domain).steps.count("removed") == 1
    else:
        with pytest.raises(KnitError, match=broken.renewal):
            renewed(site, prove, ca, broken.domain)
    asked = ca.counts()["requests"].get("challenge", 0)
    assert asked == (1 if broken.renewal is None or broken.ca else 0)
    assert site.zone.records == before, "nothing of ours is left"
