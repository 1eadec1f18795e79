"""Would an order for this name succeed? The facts behind `knit dns check`; knit.core.findings says what they mean.

Asks the DNS and, if there is a solver, writes, reads back and deletes a probe value.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256

import dns.flags
import dns.message
import dns.rcode
from dns.rdtypes.ANY.CAA import CAA

from knit.core.caa import Caa
from knit.core.dns_facts import CaaFacts, DnsFacts, ResolverFacts, ServerFacts, ZoneFacts
from knit.core.model.challenge import Challenge, Record
from knit.core.places import explained
from knit.core.servers import Address, Server
from knit.dns.delegation import DnsDelegation
from knit.dns.prover import places, slots, writing
from knit.dns.query import NoReply, NoRoute, abreast, ask, ask_unchecked, find, of_type, refusal, txt_values
from knit.errors import KnitError
from knit.ports.solving import Exclusive, Settles, Solver, session

_TRY = 3.0
_LAME = "is lame: it does not hold this zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How to try the provider: its code and solver, and what keeps workers off the record set meanwhile."""

    code: str
    solver: Solver
    exclusive: Exclusive


def gather(name: str, delegation: DnsDelegation, probe: Probe | None) -> DnsFacts:
    """Look at everything an order for `name` (a wildcard keeps its `*.`) depends on. Never raises for bad zones."""
    identifier = name.removeprefix("*.")
    caa = _caa(identifier, delegation)
    try:
        chain = delegation.chain(f"_acme-challenge.{identifier}")
    except KnitError as e:
        return DnsFacts(name=name, caa=caa, problem=str(e))
    zone = _zone(identifier, chain[-1], delegation)
    facts = DnsFacts(name=name, caa=caa, chain=chain, zone=zone)
    if probe is None:
        return facts
    allowed, bound = places(probe.solver)
    confined = bound or allowed.entries is not None
    return replace(facts, probed=True, probe=_try(probe, identifier, chain[-1], delegation), confined=confined)


def _sibling(name: str) -> str:
    """A name beside this one that nobody has made."""
    return f"knit-{secrets.token_hex(8)}.{name.partition('.')[2]}"


def _zone(identifier: str, place: tuple[str, str], delegation: DnsDelegation) -> ZoneFacts:
    fqdn, zone = place
    try:
        found = delegation.name_servers(zone)
    except NoReply as e:
        return ZoneFacts(problem=str(e), waits=delegation.waits)
    addresses = [server for servers in found.values() for server in servers]
    timeout = min(_TRY, delegation.timeout)
    servers = tuple(abreast(lambda server: _server(server, place, timeout), addresses, lambda: None))
    return ZoneFacts(
        servers=servers,
        nameless=tuple(name for name, servers in found.items() if not servers),
        resolvers=tuple(_resolver(resolver, zone, timeout) for resolver in delegation.checked),
        wildcard=_wildcard(servers, fqdn, timeout),
        waits=delegation.waits,
        exists=identifier == zone or not _is_unknown(identifier, delegation),
    )


def _server(server: Server, place: tuple[str, str], timeout: float) -> ServerFacts:
    fqdn, zone = place
    try:
        soa = ask(zone, "SOA", server.address, recurse=False, timeout=timeout)
        found = find(soa, zone, "SOA")
        txt = ask(fqdn, "TXT", server.address, recurse=False, timeout=timeout)
    except NoReply as e:
        routed = not isinstance(e, NoRoute)
        return ServerFacts(server=server, serial=None, problem=str(e), answered=False, routed=routed)
    problem = _refused(soa) or (None if found else _LAME) or _refused(txt)
    serial = found[0].serial if found and not problem else None
    return ServerFacts(server=server, serial=serial, problem=problem, values=txt_values(txt, fqdn))


def _refused(answer: dns.message.Message) -> str | None:
    """Why this answer would not count when a record is waited for."""
    if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return refusal(answer, recurse=False)
    return None if answer.flags & dns.flags.AA else _LAME


def _resolver(resolver: Address, zone: str, timeout: float) -> ResolverFacts:
    """Asked for the zone only: it would remember for an hour that the challenge name has no record yet."""
    try:
        answer = ask(zone, "SOA", resolver, recurse=True, timeout=timeout)
    except NoReply as e:
        return ResolverFacts(resolver=resolver, serial=None, problem=str(e), answered=False)
    found = find(answer, zone, "SOA")
    if found is not None:
        return ResolverFacts(resolver=resolver, serial=found[0].serial, problem=None)
    if answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return ResolverFacts(resolver=resolver, serial=None, problem="says that there is no such zone")
    dnssec = answer.rcode() == dns.rcode.SERVFAIL and _answers_unchecked(resolver, zone, timeout)
    return ResolverFacts(resolver=resolver, serial=None, problem=refusal(answer, recurse=True), dnssec=dnssec)


def _answers_unchecked(resolver: Address, zone: str, timeout: float) -> bool:
    try:
        return find(ask_unchecked(zone, "SOA", resolver, timeout), zone, "SOA") is not None
    except NoReply:
        return False


def _wildcard(servers: tuple[ServerFacts, ...], fqdn: str, timeout: float) -> frozenset[str]:
    """Which of the values seen are a wildcard's, so that any name shows them."""
    showing = next((seen for seen in servers if seen.values), None)
    if showing is None:
        return frozenset()
    name = _sibling(fqdn)
    try:
        return txt_values(ask(name, "TXT", showing.server.address, recurse=False, timeout=timeout), name)
    except NoReply:
        return frozenset()


def _is_unknown(name: str, delegation: DnsDelegation) -> bool:
    try:
        return delegation.resolve(name, "SOA").rcode() == dns.rcode.NXDOMAIN
    except NoReply:
        return False


def _caa(identifier: str, delegation: DnsDelegation) -> CaaFacts:
    """Climb to the first name that has CAA records (RFC 8659 section 3)."""
    name = identifier
    while name:
        try:
            answer = delegation.resolve(name, "CAA")
        except NoReply as e:
            return CaaFacts(owner=name, problem=str(e))
        # A CNAME at the name is followed by the resolver, so the set may stand under another name.
        found = (rdata for rrset in of_type(answer.answer, "CAA") for rdata in rrset if isinstance(rdata, CAA))
        records = tuple(_caa_record(rdata) for rdata in found)
        if records:
            return CaaFacts(owner=name, records=records)
        name = name.partition(".")[2]
    return CaaFacts(owner=None)


def _caa_record(rdata: CAA) -> Caa:
    return Caa(flags=rdata.flags, tag=_text(rdata.tag), value=_text(rdata.value))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _try(probe: Probe, identifier: str, place: tuple[str, str], delegation: DnsDelegation) -> KnitError | None:
    """Write, read back, delete, as a worker does it. Deletes also what could not be read back."""
    token = secrets.token_urlsafe(32)
    key_authorization = f"{token}.{secrets.token_urlsafe(32)}"
    value = urlsafe_b64encode(sha256(key_authorization.encode()).digest()).rstrip(b"=").decode()
    challenge = Challenge(identifier=identifier, value=value, token=token, key_authorization=key_authorization)
    record = Record(challenge=challenge, fqdn=place[0], zone=place[1])
    try:
        places(probe.solver)[0].check(record)
        with ExitStack() as held:
            for name in slots(probe.code, probe.solver, record):
                held.enter_context(probe.exclusive(name))
            solver = held.enter_context(session(probe.solver))
            return _write_and_delete(replace(probe, solver=solver), record, delegation)
    except KnitError as e:
        return e


def _write_and_delete(probe: Probe, record: Record, delegation: DnsDelegation) -> KnitError | None:
    solver, failure = probe.solver, None
    state: dict[str, str] | None = None
    try:
        with explained(record), writing(probe.code, solver, record, probe.exclusive):
            state = solver.present(record)
        if state is not None and isinstance(solver, Settles):
            solver.settle([state])
        delegation.wait_visible([record], timeout=solver.timeout, interval=solver.interval)
    except KnitError as e:
        failure = e
    try:
        with writing(probe.code, solver, record, probe.exclusive):
            solver.cleanup(record, state)
    except KnitError as e:
        failure = failure or e
    return failure
