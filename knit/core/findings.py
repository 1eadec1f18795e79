"""What the facts about a name mean: one finding per question. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from knit.core.caa import CaaIssuer, objection
from knit.core.dns_facts import DnsFacts, ResolverFacts, ServerFacts, ZoneFacts
from knit.core.places import is_odd
from knit.core.servers import unreachable, with_a_path
from knit.errors import KnitError

_MANY = 10


class Verdict(StrEnum):
    """Whether an order would go through."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it stands, and what to do when it is not OK."""

    subject: str
    verdict: Verdict
    text: str


def judge(facts: DnsFacts, who: CaaIssuer) -> list[Finding]:
    """One finding per question; an order would fail if any is FAILED."""
    findings = [_delegation(facts)]
    if facts.chain:
        findings += [*_servers(facts), *_resolvers(facts.zone), _leftovers(facts)]
    findings.append(_caa(facts, who))
    if facts.probed:
        findings.append(_probe(facts.probe, waits=facts.zone.waits))
    return findings


def of_silent_ca(facts: DnsFacts, why: str) -> list[Finding]:
    """The findings when the CA cannot be asked who it is: CAA records cannot be judged."""
    nobody = CaaIssuer(identities=frozenset(), account_uri=None)
    findings = [finding for finding in judge(facts, nobody) if finding.subject != "CAA"]
    return [*findings, Finding(subject="CA", verdict=Verdict.FAILED, text=why)]


def of_unnamed_ca(facts: DnsFacts, findings: Sequence[Finding], directory: str) -> list[Finding]:
    """The findings when the CA does not say who it is: CAA records are shown instead of judged."""
    shown = "; ".join(map(str, facts.caa.records))
    text = f"{directory} does not say under which names it looks for itself; {facts.caa.owner} has {shown}"
    caa = Finding(subject="CAA", verdict=Verdict.WARNING, text=text)
    return [caa if finding.subject == "CAA" else finding for finding in findings]


def failed(findings: Sequence[Finding]) -> bool:
    """Whether an order would fail."""
    return any(finding.verdict is Verdict.FAILED for finding in findings)


def _delegation(facts: DnsFacts) -> Finding:
    subject = "delegation"
    if facts.problem is not None:
        return Finding(subject=subject, verdict=Verdict.FAILED, text=facts.problem)
    names, zone = [name for name, _ in facts.chain], facts.chain[-1][1]
    if "." not in zone and not facts.zone.exists:
        text = f"there is no such name, and only the top-level zone {zone} answers for it: register it, or delegate it"
        return Finding(subject=subject, verdict=Verdict.FAILED, text=text)
    text = f"{names[0]} is in zone {zone}"
    if len(names) > 1:
        text = f"{' -> '.join(names)}, in zone {zone}: the provider must serve that zone"
    doubts = []
    if not facts.confined and is_odd(names[0], names[-1]):
        doubts.append(
            f"{names[-1]} is no _acme-challenge name, and the value is written there all the same: "
            "CODE_ALLOWED_NAMES says where the provider CODE may write"
        )
    verdict = Verdict.WARNING if doubts else Verdict.OK
    return Finding(subject=subject, verdict=verdict, text=". ".join([text, *doubts]))


def _servers(facts: DnsFacts) -> list[Finding]:
    zone, seen = facts.chain[-1][1], facts.zone
    if not seen.servers:
        why = f" ({seen.problem})" if seen.problem else ": its NS records are wrong or lack glue"
        return [_unless_waiting("servers", f"no name server of {zone} has an address{why}", waits=seen.waits)]
    nameless = [
        Finding(
            subject=f"server {name}",
            verdict=Verdict.WARNING,
            text=f"has no address: take it out of the NS records of {zone}, or give it one",
        )
        for name in seen.nameless
    ]
    return [*(_server(each, zone, seen) for each in seen.servers), *nameless]


def _unless_waiting(subject: str, text: str, *, waits: bool) -> Finding:
    """A failure, unless a fixed wait stands for what cannot be asked."""
    if not waits:
        return Finding(subject=subject, verdict=Verdict.FAILED, text=text)
    told = f"{text}; KNIT_DNS_PROPAGATION_WAIT is set, so nobody asks it here"
    return Finding(subject=subject, verdict=Verdict.WARNING, text=told)


def _server(each: ServerFacts, zone: str, seen: ZoneFacts) -> Finding:
    subject = f"server {each.server}"
    if each.problem is not None:
        return _broken_server(each, zone, seen)
    newest = max(server.serial for server in seen.servers if server.serial is not None)
    if each.serial != newest:
        text = f"serial {each.serial}, others have {newest}: it lags, and the order waits for it"
        return Finding(subject=subject, verdict=Verdict.WARNING, text=text)
    return Finding(subject=subject, verdict=Verdict.OK, text=f"holds {zone}, serial {each.serial}")


def _broken_server(each: ServerFacts, zone: str, seen: ZoneFacts) -> Finding:
    subject = f"server {each.server}"
    if not any(server.answered for server in seen.servers):
        return _unless_waiting(subject, f"{each.problem}: {unreachable(seen.servers)}", waits=seen.waits)
    if each.server not in with_a_path({server.server: server for server in seen.servers}):
        text = f"{each.problem}: left out, as others can be reached"
        return Finding(subject=subject, verdict=Verdict.WARNING, text=text)
    return _unless_waiting(
        subject, f"{each.problem}: repair it or take it out of the NS records of {zone}", waits=seen.waits
    )


def _resolvers(seen: ZoneFacts) -> list[Finding]:
    serials = [server.serial for server in seen.servers if server.serial is not None]
    speaking = any(each.answered for each in seen.resolvers)
    return [_resolver(each, max(serials, default=None), others=speaking) for each in seen.resolvers]


def _resolver(each: ResolverFacts, newest: int | None, *, others: bool) -> Finding:
    subject = f"resolver {each.resolver}"
    if not each.answered and others:
        text = f"{each.problem}: left out, as others answer"
        return Finding(subject=subject, verdict=Verdict.WARNING, text=text)
    if each.dnssec:
        text = "says that the zone's DNSSEC is broken: renew the signatures, or correct the DS record; CAs look, too"
        return Finding(subject=subject, verdict=Verdict.FAILED, text=text)
    if each.problem is not None or each.serial is None:
        text = f"{each.problem}: repair it, or set KNIT_DNS_RESOLVERS to others"
        return Finding(subject=subject, verdict=Verdict.FAILED, text=text)
    if newest is not None and each.serial > newest:
        text = (
            f"serial {each.serial}, the zone's servers have {newest}: it may see another zone (split horizon); "
            "set KNIT_DNS_RESOLVERS to a resolver outside"
        )
        return Finding(subject=subject, verdict=Verdict.WARNING, text=text)
    return Finding(subject=subject, verdict=Verdict.OK, text=f"sees the zone, serial {each.serial}")


def _leftovers(facts: DnsFacts) -> Finding:
    fqdn = facts.chain[-1][0]
    shown = frozenset[str]().union(*(seen.values for seen in facts.zone.servers))
    count = len(shown - facts.zone.wildcard)
    if count == 0:
        text = "no TXT records from earlier challenges"
        if shown:
            text = f"{text}; the {len(shown)} shown at {fqdn} are a wildcard's, which a record there takes the place of"
        return Finding(subject="leftovers", verdict=Verdict.OK, text=text)
    many = ", so many that CAs may refuse the answer" if count >= _MANY else ""
    text = f"{count} TXT record(s) at {fqdn} already{many}: remove them unless an order is under way"
    return Finding(subject="leftovers", verdict=Verdict.WARNING, text=text)


def _caa(facts: DnsFacts, who: CaaIssuer) -> Finding:
    caa = facts.caa
    if caa.problem is not None:
        text = f"cannot be read at {caa.owner} ({caa.problem}): the CA would refuse, too"
        return Finding(subject="CAA", verdict=Verdict.FAILED, text=text)
    if caa.owner is None:
        return Finding(subject="CAA", verdict=Verdict.OK, text="no CAA records: every CA may issue")
    refused = objection(caa.records, who, wildcard=facts.name.startswith("*."))
    if refused is None:
        return Finding(subject="CAA", verdict=Verdict.OK, text=f"the records at {caa.owner} allow this CA")
    wanted = f'0 issue "{min(who.identities, default="<the CA>")}"'
    text = f"{caa.owner} forbids it: {refused}; add {wanted} there or use the CA it names"
    return Finding(subject="CAA", verdict=Verdict.FAILED, text=text)


def _probe(failure: KnitError | None, *, waits: bool) -> Finding:
    if failure is not None:
        return Finding(subject="provider", verdict=Verdict.FAILED, text=str(failure))
    seen = "written and deleted; nobody looked for it, as KNIT_DNS_PROPAGATION_WAIT is set"
    text = f"a probe value was {seen if waits else 'written, seen and deleted'}"
    return Finding(subject="provider", verdict=Verdict.OK, text=text)
