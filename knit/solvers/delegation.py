"""Where a challenge name really lives, asked of the DNS itself: implements ports.Delegation.

A resolver remembers that a name does not exist for as long as the zone's SOA says, often an hour, and would go on
saying so after the record is set. So while resolvers are to be asked for the record later, they are asked only for
the zone of the name's parent here; the challenge name itself is asked of the zone's own servers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode
from dns.rdtypes.ANY.NS import NS

from knit.core.model import Challenge, Record
from knit.errors import Refused, Unreachable
from knit.ports import Sleep
from knit.solvers.dnsquery import (
    Address,
    NoReply,
    ask,
    ask_any,
    authority,
    find,
    is_within,
    resolved,
    system_resolvers,
    text,
)
from knit.solvers.propagation import Server, Visibility, look

log = logging.getLogger(__name__)

HOPS = 16
"""Longest CNAME chain followed: resolvers, and so the CA, give up at about that length."""
_REFERRALS = 8
_KEPT = 60.0
_SHORT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """How to look at the DNS.

    `resolvers` as host:port (None: the system's); `timeout` seconds per question; `recursive_check` whether the
    resolvers, too, must show a record; `wait` seconds replace the check; `authority_port` is for tests.
    """

    resolvers: tuple[str, ...] | None = None
    timeout: float = 10.0
    recursive_check: bool = True
    wait: float | None = None
    follow_cname: bool = True
    authority_port: int = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What one name of a chain is: an alias of `target`, or the end of the chain, in `zone`."""

    target: str | None
    zone: str


class DnsDelegation:
    """Looks as `Looking` says. Safe to share between threads; remembers each zone's servers for a minute."""

    def __init__(self, looking: Looking, sleep: Sleep) -> None:
        self._looking = looking
        self._sleep = sleep
        self._resolvers = _addresses(looking.resolvers)
        self._kept: dict[str, tuple[float, dict[str, tuple[Server, ...]]]] = {}
        self._lock = threading.Lock()

    def locate(self, challenge: Challenge) -> Record:
        """The place the TXT value belongs: the CNAME chain's end and the zone cut above it.

        Raises Unreachable when the DNS does not answer, Refused for chains that loop or are too long and for
        names in no zone.
        """
        chain = self.chain(challenge.name)
        return Record(challenge=challenge, fqdn=chain[-1][0], zone=chain[-1][1])

    def chain(self, name: str) -> tuple[tuple[str, str], ...]:
        """Every (name, zone) of the CNAME chain from `name` to its end. Raises as `locate` does."""
        found: list[tuple[str, str]] = []
        target: str | None = name
        while target is not None:
            seen = [before for before, _ in found]
            if target in seen:
                raise Refused(f"the CNAME chain at {name} loops: {' -> '.join([*seen, target])}")
            if len(found) > HOPS:
                raise Refused(f"the CNAME chain at {name} is longer than {HOPS}: {' -> '.join(seen[:4])} -> …")
            hop = self._hop(target)
            found.append((target, hop.zone))
            target = hop.target if self._looking.follow_cname else None
        if not found[-1][1]:
            raise Refused(f"{found[-1][0]} is in no zone: the domain is not registered, or nobody has delegated it")
        return tuple(found)

    def wait_visible(self, records: Sequence[Record], *, timeout: float, interval: float) -> None:
        """See ports.Delegation."""
        if self._looking.wait is not None:
            self._sleep(self._looking.wait)
            return
        Visibility(self.servers, self.checked, self._sleep, self._looking.timeout).wait(records, timeout, interval)

    @property
    def timeout(self) -> float:
        """Seconds one question may take."""
        return self._looking.timeout

    @property
    def waits(self) -> bool:
        """Whether a fixed wait stands for the check."""
        return self._looking.wait is not None

    @property
    def checked(self) -> tuple[Address, ...]:
        """The resolvers that must show a record, too."""
        return self._resolvers if self._looking.recursive_check and not self.waits else ()

    def is_gone(self, record: Record) -> bool:
        """Whether all servers of the zone answer, and each says that the value is not there."""
        try:
            servers = self.servers(record.zone)
        except NoReply:
            return False
        timeout = min(_SHORT, self._looking.timeout)
        return bool(servers) and all(
            look(server.address, record, recurse=False, timeout=timeout).absent for server in servers
        )

    def servers(self, zone: str) -> tuple[Server, ...]:
        """Every address of every name server of the zone; raises NoReply when they cannot be found."""
        return tuple(server for addresses in self.name_servers(zone).values() for server in addresses)

    def name_servers(self, zone: str) -> dict[str, tuple[Server, ...]]:
        """The addresses of each name server of the zone, none for a name that has none; raises NoReply."""
        with self._lock:
            kept = self._kept.get(zone)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        found = self._find_servers(zone)
        with self._lock:
            self._kept[zone] = (time.monotonic() + _KEPT, found)
        return found

    def resolve(self, name: str, kind: str) -> dns.message.Message:
        """Ask the configured resolvers; raises NoReply."""
        return ask_any(name, kind, self._resolvers, recurse=True, timeout=self._looking.timeout)

    def zone_of(self, name: str) -> str:
        """The zone that holds the name, as the resolvers see it; empty for the root. Raises NoReply."""
        while name:
            answer = self.resolve(name, "SOA")
            if find(answer, name, "SOA") is not None:
                return name
            soa = authority(answer, "SOA")
            if soa is not None and is_within(name, text(soa.name)):
                return text(soa.name)
            name = name.partition(".")[2]
        return ""

    def _hop(self, name: str) -> Hop:
        try:
            if self.checked:
                hop = self._ask_authority(name)
                if hop is not None:
                    return hop
            return self._ask_resolvers(name)
        except NoReply as e:
            raise Unreachable(f"the DNS does not say where {name} is: {e}") from None

    def _ask_authority(self, name: str) -> Hop | None:
        """What the zone's own servers say of the name; None when none of them says anything."""
        zone = self.zone_of(name.partition(".")[2] or name)
        for _ in range(_REFERRALS):
            answer = self._first_answer(name, zone)
            if answer is None:
                return None
            below = _referral(answer, name, zone)
            if below is None:
                return Hop(target=_alias(answer, name), zone=_cut(answer, name, zone))
            zone = below
        return None

    def _ask_resolvers(self, name: str) -> Hop:
        answer = self.resolve(name, "CNAME")
        target = _alias(answer, name)
        if target is not None:
            return Hop(target=target, zone="")
        zone = _cut(answer, name, "")
        return Hop(target=None, zone=zone or self._zone_or_guess(name))

    def _zone_or_guess(self, name: str) -> str:
        """The zone, or the parent's name where the user has said, by a fixed wait, that the DNS is not to be relied on.

        Solvers with an API take the zone only as a first guess and find their own.
        """
        try:
            return self.zone_of(name)
        except NoReply:
            if self._looking.wait is None:
                raise
            return name.partition(".")[2]

    def _first_answer(self, name: str, zone: str) -> dns.message.Message | None:
        if not zone:
            return None
        try:
            servers = self.servers(zone)
        except NoReply:
            return None
        for server in servers:
            try:
                answer = ask(name, "CNAME", server.address, recurse=False, timeout=min(_SHORT, self._looking.timeout))
            except NoReply as e:
                log.debug("name server gave no answer", extra={"server": str(server), "why": str(e)})
                continue
            if answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                return answer
        return None

    def _find_servers(self, zone: str) -> dict[str, tuple[Server, ...]]:
        rrset = find(self.resolve(zone, "NS"), zone, "NS")
        names = sorted(text(rdata.target) for rdata in rrset or () if isinstance(rdata, NS))
        port = self._looking.authority_port
        return {name: tuple(Server(name, Address(host, port)) for host in self._hosts(name)) for name in names}

    def _hosts(self, name: str) -> list[str]:
        """The server's addresses; a name that cannot be resolved has none, which the check then reports."""
        hosts: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                rrset = find(self.resolve(name, kind), name, kind)
            except NoReply:
                continue
            hosts += [rdata.to_text() for rdata in rrset or ()]
        return hosts


def _addresses(resolvers: tuple[str, ...] | None) -> tuple[Address, ...]:
    if resolvers is None:
        return system_resolvers()
    try:
        return tuple(resolved(resolver) for resolver in resolvers)
    except OSError as e:
        raise Unreachable(f"KNIT_DNS_RESOLVERS: a resolver's name has no address ({e.strerror})") from None


def _alias(answer: dns.message.Message, name: str) -> str | None:
    rrset = find(answer, name, "CNAME")
    return None if rrset is None else text(rrset[0].target)


def _cut(answer: dns.message.Message, name: str, zone: str) -> str:
    """The zone cut an answer shows: the owner of the SOA in its authority section (RFC 2308 section 3)."""
    soa = authority(answer, "SOA")
    if soa is None or not is_within(name, text(soa.name)) or not is_within(text(soa.name), zone):
        return zone
    return text(soa.name)


def _referral(answer: dns.message.Message, name: str, zone: str) -> str | None:
    """The child zone a server refers to instead of answering, or None."""
    ns = authority(answer, "NS")
    if answer.answer or answer.flags & dns.flags.AA or ns is None:
        return None
    child = text(ns.name)
    return child if child != zone and is_within(child, zone) and is_within(name, child) else None
