"""One search in the DNS: where a name's CNAME chain ends, in which zone, and which servers hold that zone.

A resolver remembers that a name does not exist for as long as the zone's SOA says, often an hour, and would go on
saying so after the record is set. So while resolvers are to be asked for the record later, they are asked only for
the zone of the name's parent here; the challenge name itself is asked of the zone's own servers.

All questions of a search share one deadline, and silent servers are left aside: what a hostile or dead zone answers,
or does not, cannot hold a thread for longer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode
from dns.rdtypes.ANY.NS import NS

from knit.core.servers import Address, NameServers, Server
from knit.dns.cache import DnsCache
from knit.dns.query import ErrorReply, NoReply, abreast, ask, ask_any, authority, find, is_within, text
from knit.errors import Refused, Unreachable
from knit.ports.process import Sleep

log = logging.getLogger(__name__)

HOPS = 16
"""Longest CNAME chain followed: resolvers, and so the CA, give up at about that length."""
_REFERRALS = 8
_NAMES = 16
_ADDRESSES = 8
_SHORT = 2.0
_HOST_SHARE = 10
_QUESTIONS = 3
_NOBODYS = "_knit-asks-for-a-wildcard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """How to look at the DNS.

    `resolvers` as host:port (None: the system's); `timeout` seconds per question, and `patience` (or three times
    `timeout`, if that is more) for one search, whatever it meets; `recursive_check` whether the resolvers, too, must
    show a record; `wait` seconds replace the check; after `silence` seconds a server that never answers ends a wait;
    `authority_port` is for tests.
    """

    resolvers: tuple[str, ...] | None = None
    timeout: float = 10.0
    recursive_check: bool = True
    wait: float | None = None
    follow_cname: bool = True
    patience: float = 30.0
    silence: float = 15.0
    authority_port: int = 53

    @property
    def longest(self) -> float:
        """Seconds one search may take."""
        return max(self.patience, _QUESTIONS * self.timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What one name of a chain is: an alias of `target`, or the end of the chain, in `zone`."""

    target: str | None
    zone: str


class Search:
    """Asks until `until` (seconds, monotonic). `checked`: the resolvers that must show a record later."""

    def __init__(
        self, looking: Looking, resolvers: Sequence[Address], memory: DnsCache, sleep: Sleep, *, until: float
    ) -> None:
        self._looking = looking
        self._resolvers = resolvers
        self._memory = memory
        self._sleep = sleep
        self._until = until

    def chain(self, name: str, *, by_authority: bool) -> tuple[tuple[str, str], ...]:
        """Every (name, zone) of the CNAME chain from `name` to its end.

        A CNAME that `name` has only by a wildcard does not count: what is set at `name` itself goes before it.

        Raises Unreachable when the DNS does not answer, Refused for chains that loop or are too long and for names
        in no zone.
        """
        found: list[tuple[str, str]] = []
        target: str | None = name
        while target is not None:
            seen = [before for before, _ in found]
            if target in seen:
                raise Refused(f"the CNAME chain at {name} loops: {' -> '.join([*seen, target])}")
            if len(found) > HOPS:
                raise Refused(f"the CNAME chain at {name} is longer than {HOPS}: {' -> '.join(seen[:4])} -> …")
            hop = self._hop(target, by_authority=by_authority)
            if target == name and self._looking.follow_cname and hop.target is not None:
                hop = self._unless_by_wildcard(name, hop, by_authority=by_authority)
            found.append((target, hop.zone))
            target = hop.target if self._looking.follow_cname else None
        if not found[-1][1]:
            raise Refused(f"{found[-1][0]} is in no zone: the domain is not registered, or nobody has delegated it")
        return tuple(found)

    def name_servers(self, zone: str) -> NameServers:
        """The first 16 name servers of the zone by name, each with its first 8 addresses; raises NoReply."""
        kept = self._memory.servers(zone)
        if kept is not None:
            return kept
        rrset = find(self.resolve(zone, "NS"), zone, "NS")
        names = sorted(text(rdata.target) for rdata in rrset or () if isinstance(rdata, NS))[:_NAMES]
        hosts = self._hosts(names)
        port = self._looking.authority_port
        found = {name: tuple(Server(name, Address(host, port)) for host in hosts[name][:_ADDRESSES]) for name in names}
        if time.monotonic() < self._until:
            self._memory.keep(zone, found)
        return found

    def resolve(self, name: str, kind: str, most: float | None = None) -> dns.message.Message:
        """Ask the configured resolvers, for at most that many seconds; raises NoReply."""
        timeout = self._left(min(self._looking.timeout, most or self._looking.timeout))
        return ask_any(name, kind, self._resolvers, recurse=True, timeout=timeout, pause=self._sleep)

    def zone_of(self, name: str) -> str:
        """The zone that holds the name, as the resolvers see it; empty for the root. Raises NoReply.

        A resolver may answer with an error for names below an apex that it does find: it is asked for the parent,
        too. That a whole top-level domain holds the name is not believed of such a resolver.
        """
        refused: ErrorReply | None = None
        while name:
            try:
                found = _holder(self.resolve(name, "SOA"), name)
            except ErrorReply as e:
                found, refused = None, refused or e
            if found and (refused is None or "." in found):
                return found
            name = name.partition(".")[2]
        if refused is not None:
            raise refused
        return ""

    def _left(self, most: float) -> float:
        """Seconds for the next question. Raises NoReply when there is no time left, and Interrupted at a stop."""
        self._sleep(0)
        left = self._until - time.monotonic()
        if left <= 0:
            raise NoReply(f"no end found within {self._looking.longest:g} s: name servers are slow or silent")
        return min(most, left)

    def _unless_by_wildcard(self, name: str, hop: Hop, *, by_authority: bool) -> Hop:
        """The hop, or one that ends here where a name beside it that nobody has made leads to the same place."""
        beside = f"{_NOBODYS}.{name.partition('.')[2]}"
        if self._hop(beside, by_authority=by_authority).target != hop.target:
            return hop
        log.info("a wildcard's CNAME is not followed", extra={"challenge": name, "target": hop.target})
        try:
            return Hop(target=None, zone=hop.zone or self._zone_or_guess(name.partition(".")[2]))
        except NoReply as e:
            raise Unreachable(f"the DNS does not say where {name} is: {e}") from None

    def _hop(self, name: str, *, by_authority: bool) -> Hop:
        try:
            hop = self._ask_authority(name) if by_authority else None
            return hop or self._ask_resolvers(name)
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
        """Of one server, if it answers; else of the others, few at once. Those known to be silent are not asked."""
        if not zone:
            return None
        try:
            found = self.name_servers(zone)
        except NoReply:
            return None
        addresses = [server.address for servers in found.values() for server in servers]
        asked = [address for address in addresses if self._memory.silent_for(address) is None]
        for few in (asked[:1], asked[1:]):
            answers = abreast(lambda address: self._alias_answer(name, address), few, lambda: self._sleep(0))
            if good := next((answer for answer in answers if answer is not None), None):
                return good
        return None

    def _alias_answer(self, name: str, address: Address) -> dns.message.Message | None:
        try:
            timeout = self._left(min(_SHORT, self._looking.timeout))
            answer = ask(name, "CNAME", address, recurse=False, timeout=timeout)
        except NoReply as e:
            self._memory.heard(address, answered=False)
            log.debug("name server gave no answer", extra={"server": str(address), "why": str(e)})
            return None
        self._memory.heard(address, answered=True)
        return answer if answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} else None

    def _hosts(self, names: Sequence[str]) -> dict[str, list[str]]:
        """The servers' addresses; a name that cannot be resolved has none, which the check then reports."""
        questions = [(name, kind) for name in names for kind in ("A", "AAAA")]
        found = abreast(self._addresses, questions, lambda: self._sleep(0))
        hosts: dict[str, list[str]] = {name: [] for name in names}
        for (name, _), addresses in zip(questions, found, strict=True):
            hosts[name] += addresses
        return hosts

    def _addresses(self, question: tuple[str, str]) -> list[str]:
        name, kind = question
        try:
            rrset = find(self.resolve(name, kind, self._looking.longest / _HOST_SHARE), name, kind)
        except NoReply:
            return []
        return [rdata.to_text() for rdata in rrset or ()]


def _holder(answer: dns.message.Message, name: str) -> str | None:
    """The zone that an answer to a question for this name's SOA shows as the one that holds it."""
    if find(answer, name, "SOA") is not None:
        return name
    soa = authority(answer, "SOA")
    return text(soa.name) if soa is not None and is_within(name, text(soa.name)) else None


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
