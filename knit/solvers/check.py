"""Would an order for this name succeed? The facts behind `knit dns check`, and what they mean.

`gather` asks the DNS and, if there is a solver, writes, reads back and deletes a probe value; `judge` turns the facts
into findings and asks nobody.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256

import dns.rcode
from dns.rdtypes.ANY.CAA import CAA

from knit.core.model import Challenge, Record
from knit.errors import KnitError
from knit.ports import Solver
from knit.solvers.base import session
from knit.solvers.caa import Authority, Caa, objection
from knit.solvers.delegation import DnsDelegation
from knit.solvers.dnsquery import NoReply, ask, find, txt_values
from knit.solvers.propagation import Server

_TRY = 3.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What one server of the zone says of the zone: its serial, or the problem; and the TXT values it shows."""

    server: Server
    serial: int | None
    problem: str | None
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaFacts:
    """The relevant CAA set and where it was found (None: nowhere), or why it could not be read."""

    owner: str | None
    records: tuple[Caa, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was found out. `chain` holds (name, zone) to the end of the CNAME chain; empty with `problem`."""

    name: str
    caa: CaaFacts
    chain: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    servers: tuple[ServerFacts, ...] = ()
    servers_problem: str | None = None
    probed: bool = False
    probe: KnitError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How to try the provider: its solver, and a token that nobody else uses."""

    solver: Solver
    value: str


def gather(name: str, delegation: DnsDelegation, probe: Probe | None) -> Facts:
    """Look at everything an order for `name` (a wildcard keeps its `*.`) depends on. Never raises for bad zones."""
    identifier = name.removeprefix("*.")
    caa = _caa(identifier, delegation)
    try:
        chain = delegation.chain(f"_acme-challenge.{identifier}")
    except KnitError as e:
        return Facts(name=name, caa=caa, problem=str(e))
    servers, trouble = _servers(chain[-1][0], chain[-1][1], delegation)
    facts = Facts(name=name, caa=caa, chain=chain, servers=servers, servers_problem=trouble)
    if probe is None:
        return facts
    return replace(facts, probed=True, probe=_try(probe, identifier, chain[-1], delegation))


def judge(facts: Facts, who: Authority) -> list[Finding]:
    """One finding per question; an order would fail if any is FAILED."""
    findings = [_judge_chain(facts)]
    if facts.chain:
        findings += [*_judge_servers(facts), _judge_leftovers(facts)]
    findings.append(_judge_caa(facts, who))
    if facts.probed:
        findings.append(_judge_probe(facts.probe))
    return findings


def _servers(fqdn: str, zone: str, delegation: DnsDelegation) -> tuple[tuple[ServerFacts, ...], str | None]:
    try:
        servers = delegation.servers(zone)
    except NoReply as e:
        return (), str(e)
    return tuple(_server(server, fqdn, zone) for server in servers), None


def _server(server: Server, fqdn: str, zone: str) -> ServerFacts:
    try:
        soa = ask(zone, "SOA", server.address, recurse=False, timeout=_TRY)
        found = find(soa, zone, "SOA")
        if found is None:
            said = dns.rcode.to_text(soa.rcode())
            return ServerFacts(server=server, serial=None, problem=f"does not hold the zone (answers {said})")
        txt = ask(fqdn, "TXT", server.address, recurse=False, timeout=_TRY)
    except NoReply as e:
        return ServerFacts(server=server, serial=None, problem=str(e))
    return ServerFacts(server=server, serial=found[0].serial, problem=None, values=txt_values(txt, fqdn))


def _caa(identifier: str, delegation: DnsDelegation) -> CaaFacts:
    """Climb to the first name that has CAA records (RFC 8659 section 3)."""
    name = identifier
    while name:
        try:
            answer = delegation.resolve(name, "CAA")
        except NoReply as e:
            return CaaFacts(owner=name, problem=str(e))
        # A CNAME at the name is followed by the resolver, so the set may stand under another name.
        sets = [rrset for rrset in answer.answer if any(isinstance(rdata, CAA) for rdata in rrset)]
        if sets:
            records = tuple(
                Caa(flags=rdata.flags, tag=_text(rdata.tag), value=_text(rdata.value))
                for rdata in sets[-1]
                if isinstance(rdata, CAA)
            )
            return CaaFacts(owner=name, records=records)
        name = name.partition(".")[2]
    return CaaFacts(owner=None)


def _try(probe: Probe, identifier: str, place: tuple[str, str], delegation: DnsDelegation) -> KnitError | None:
    """Write, read back, delete. Deletes also what could not be read back."""
    key_authorization = f"{probe.value}.{probe.value}"
    value = urlsafe_b64encode(sha256(key_authorization.encode()).digest()).rstrip(b"=").decode()
    challenge = Challenge(identifier=identifier, value=value, token=probe.value, key_authorization=key_authorization)
    record = Record(challenge=challenge, fqdn=place[0], zone=place[1])
    try:
        with session(probe.solver) as solver:
            return _write_and_delete(solver, record, delegation)
    except KnitError as e:
        return e


def _write_and_delete(solver: Solver, record: Record, delegation: DnsDelegation) -> KnitError | None:
    failure: KnitError | None = None
    state: dict[str, str] | None = None
    try:
        state = solver.present(record)
        delegation.wait_visible([record], timeout=solver.timeout, interval=solver.interval)
    except KnitError as e:
        failure = e
    try:
        solver.cleanup(record, state)
    except KnitError as e:
        failure = failure or e
    return failure


def _judge_chain(facts: Facts) -> Finding:
    if facts.problem is not None:
        return Finding(subject="delegation", verdict=Verdict.FAILED, text=facts.problem)
    names = [name for name, _ in facts.chain]
    text = f"{names[0]} is in zone {facts.chain[-1][1]}"
    if len(names) > 1:
        text = f"{' -> '.join(names)}, in zone {facts.chain[-1][1]}: the provider must serve that zone"
    return Finding(subject="delegation", verdict=Verdict.OK, text=text)


def _judge_servers(facts: Facts) -> list[Finding]:
    zone = facts.chain[-1][1]
    if not facts.servers:
        why = f" ({facts.servers_problem})" if facts.servers_problem else ": its NS records are wrong or lack glue"
        text = f"no name server of {zone} has an address{why}"
        return [Finding(subject="servers", verdict=Verdict.FAILED, text=text)]
    serials = {seen.serial for seen in facts.servers if seen.serial is not None}
    return [_judge_server(seen, zone, serials) for seen in facts.servers]


def _judge_server(seen: ServerFacts, zone: str, serials: set[int]) -> Finding:
    subject = f"server {seen.server}"
    if seen.problem is not None:
        advice = f"repair it or take it out of the NS records of {zone}"
        return Finding(subject=subject, verdict=Verdict.FAILED, text=f"{seen.problem}: {advice}")
    if len(serials) > 1 and seen.serial != max(serials):
        text = f"serial {seen.serial}, others have {max(serials)}: it lags, and the order waits for it"
        return Finding(subject=subject, verdict=Verdict.WARNING, text=text)
    return Finding(subject=subject, verdict=Verdict.OK, text=f"holds {zone}, serial {seen.serial}")


def _judge_leftovers(facts: Facts) -> Finding:
    count = len(frozenset[str]().union(*(seen.values for seen in facts.servers)))
    fqdn = facts.chain[-1][0]
    if count == 0:
        return Finding(subject="leftovers", verdict=Verdict.OK, text="no TXT records from earlier challenges")
    advice = "remove them unless an order is under way"
    many = ", so many that CAs may refuse the answer" if count >= _MANY else ""
    text = f"{count} TXT record(s) at {fqdn} already{many}: {advice}"
    return Finding(subject="leftovers", verdict=Verdict.WARNING, text=text)


def _judge_caa(facts: Facts, who: Authority) -> Finding:
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


def _judge_probe(failure: KnitError | None) -> Finding:
    if failure is None:
        text = "a probe value was written, seen and deleted"
        return Finding(subject="provider", verdict=Verdict.OK, text=text)
    return Finding(subject="provider", verdict=Verdict.FAILED, text=str(failure))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def failed(findings: Sequence[Finding]) -> bool:
    """Whether an order would fail."""
    return any(finding.verdict is Verdict.FAILED for finding in findings)
