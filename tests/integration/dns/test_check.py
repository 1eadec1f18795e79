"""What `knit dns check` finds in good and in broken zones: the right sentence for each."""

from __future__ import annotations

from collections.abc import Callable

import dns.rcode
import pytest

from knit.app.locks import KeyedLocks
from knit.core.caa import CaaIssuer
from knit.core.findings import Finding, Verdict, failed, judge
from knit.core.model.challenge import Record
from knit.core.places import Allowed
from knit.dns.check import Probe, gather
from knit.dns.delegation import DnsDelegation
from knit.errors import CredentialsRejected
from knit.ports.solving import Paced, Solver, Timing
from rig.dns_world import World, Zone

Make = Callable[..., DnsDelegation]
US = CaaIssuer(identities=frozenset({"ca.example"}), account_uri="https://ca.example/acct/1")
NAME = "_acme-challenge.example.org"


class ZoneSolver(Paced):
    """Writes into the world's zone, or into nothing."""

    def __init__(self, zone: Zone | None, problem: Exception | None = None) -> None:
        super().__init__(Timing(timeout=0.5, interval=0.1, ttl=60))
        self._zone = zone
        self._problem = problem

    def present(self, record: Record) -> None:
        if self._problem is not None:
            raise self._problem
        if self._zone is not None:
            self._zone.add(record.fqdn, "TXT", f'"{record.value}"')

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        if self._zone is not None:
            self._zone.records.get((record.fqdn, "TXT"), []).clear()


def trying(solver: Solver) -> Probe:
    return Probe(code="zone", solver=solver, exclusive=KeyedLocks())


def check(delegation: DnsDelegation, name: str = "example.org", probe: Probe | None = None) -> dict[str, Finding]:
    return {finding.subject: finding for finding in judge(gather(name, delegation, probe), US)}


def server(findings: dict[str, Finding], host: str) -> Finding:
    return next(finding for subject, finding in findings.items() if f"({host}" in subject)


def test_a_good_zone_is_ok_all_over(world: World, delegation: Make) -> None:
    zone = world.zone("example.org", "127.0.0.2", "127.0.0.3")
    findings = check(delegation(), probe=trying(ZoneSolver(zone)))
    assert {finding.verdict for finding in findings.values()} == {Verdict.OK}
    assert not failed(list(findings.values()))
    assert next(iter(findings)) == "delegation"
    assert list(findings)[-2:] == ["CAA", "provider"]
    assert not zone.records[NAME, "TXT"]


def test_a_delegated_name_shows_its_chain(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "CNAME", "x.acme.test.")
    world.zone("acme.test", "127.0.0.3")
    assert f"{NAME} -> x.acme.test, in zone acme.test" in check(delegation())["delegation"].text


@pytest.mark.parametrize("target", ["shop.victim.test", "_dmarc.victim.test", "victim.test"])
def test_a_target_that_is_not_made_for_challenges_is_warned_about(world: World, delegation: Make, target: str) -> None:
    world.zone("example.org").add(NAME, "CNAME", f"{target}.")
    world.zone("victim.test", "127.0.0.4")
    finding = check(delegation())["delegation"]
    assert finding.verdict is Verdict.WARNING
    assert f"{target} is no _acme-challenge name" in finding.text


def test_a_target_on_the_provider_s_list_is_ok_and_another_is_refused(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "CNAME", "x.acme.test.")
    zone = world.zone("acme.test", "127.0.0.4")
    solver = ZoneSolver(zone)
    solver.allowed = Allowed(variable="DESEC_ALLOWED_NAMES", entries=("acme.test",))
    findings = check(delegation(), probe=trying(solver))
    assert (findings["delegation"].verdict, findings["provider"].verdict) == (Verdict.OK, Verdict.OK)
    solver.allowed = Allowed(variable="DESEC_ALLOWED_NAMES", entries=("other.test",))
    refused = check(delegation(), probe=trying(solver))["provider"]
    assert refused.verdict is Verdict.FAILED
    assert "DESEC_ALLOWED_NAMES" in refused.text


def test_a_challenge_name_elsewhere_is_no_reason_to_warn(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "CNAME", "_acme-challenge.acme.test.")
    world.zone("acme.test", "127.0.0.4")
    assert check(delegation())["delegation"].verdict is Verdict.OK


def test_a_loop_fails(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "CNAME", f"{NAME}.")
    finding = check(delegation())["delegation"]
    assert finding.verdict is Verdict.FAILED
    assert "loops" in finding.text


def test_a_silent_server_fails(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3")
    world.server("127.0.0.3").override = lambda _, __: None
    findings = check(delegation())
    assert server(findings, "127.0.0.2").verdict is Verdict.OK
    assert server(findings, "127.0.0.3").verdict is Verdict.FAILED
    assert "no answer in time" in server(findings, "127.0.0.3").text


def test_a_lame_server_fails(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3")
    del world.server("127.0.0.3").zones["example.org"]
    assert "answers REFUSED (it does not hold this zone)" in server(check(delegation()), "127.0.0.3").text


def test_a_lagging_server_is_warned_about(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3")
    old = Zone(name="example.org")
    old.add("example.org", "SOA", "ns1.example.org. hostmaster.example.org. 0 60 60 3600 60")
    world.server("127.0.0.3").zones["example.org"] = old
    finding = server(check(delegation()), "127.0.0.3")
    assert finding.verdict is Verdict.WARNING
    assert "it lags" in finding.text


def test_missing_glue_fails(world: World, delegation: Make) -> None:
    zone = world.zone("example.org")
    del zone.records["ns1.example.org", "A"]
    assert "lack glue" in check(delegation())["servers"].text


def test_ten_leftovers_are_warned_about(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "TXT", *(f'"old{number}"' for number in range(10)))
    finding = check(delegation())["leftovers"]
    assert finding.verdict is Verdict.WARNING
    assert "10 TXT record(s)" in finding.text


@pytest.mark.parametrize("owner", ["www.example.org", "example.org"])
def test_caa_is_found_by_climbing(world: World, delegation: Make, owner: str) -> None:
    world.zone("example.org").add(owner, "CAA", '0 issue "other.example"')
    finding = check(delegation(), "www.example.org")["CAA"]
    assert finding.verdict is Verdict.FAILED
    assert finding.text.startswith(f"{owner} forbids it")
    assert 'add 0 issue "ca.example" there' in finding.text


def test_caa_nearer_to_the_name_wins(world: World, delegation: Make) -> None:
    zone = world.zone("example.org")
    zone.add("example.org", "CAA", '0 issue ";"')
    zone.add("www.example.org", "CAA", '0 issue "ca.example; accounturi=https://ca.example/acct/1"')
    assert check(delegation(), "www.example.org")["CAA"].verdict is Verdict.OK


def test_caa_for_another_account_fails(world: World, delegation: Make) -> None:
    world.zone("example.org").add("example.org", "CAA", '0 issue "ca.example; accounturi=https://ca.example/acct/9"')
    assert "is for the account https://ca.example/acct/9" in check(delegation())["CAA"].text


def test_a_wildcard_is_held_to_issuewild(world: World, delegation: Make) -> None:
    zone = world.zone("example.org")
    zone.add("example.org", "CAA", '0 issue "ca.example"', '0 issuewild ";"')
    assert check(delegation(), "*.example.org")["CAA"].verdict is Verdict.FAILED
    assert check(delegation(), "example.org")["CAA"].verdict is Verdict.OK


def test_caa_that_cannot_be_read_fails(world: World, delegation: Make) -> None:
    world.zone("example.org")

    def servfail(query: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
        if "CAA" in str(query.question[0]):
            answer.set_rcode(dns.rcode.SERVFAIL)
        return answer

    world.resolver.override = servfail
    assert "SERVFAIL" in check(delegation())["CAA"].text


def test_a_provider_that_refuses_is_told_in_its_words(world: World, delegation: Make) -> None:
    world.zone("example.org")
    solver = ZoneSolver(None, CredentialsRejected("desec does not accept the credential"))
    findings = check(delegation(), probe=trying(solver))
    assert findings["provider"].verdict is Verdict.FAILED
    assert "does not accept" in findings["provider"].text


def test_a_provider_whose_record_never_shows_fails_naming_the_server(world: World, delegation: Make) -> None:
    """Split horizon, or the zone of another account: the API says yes, the world sees nothing."""
    world.zone("example.org")
    findings = check(delegation(), probe=trying(ZoneSolver(None)))
    assert "ns1.example.org (127.0.0.2" in findings["provider"].text
