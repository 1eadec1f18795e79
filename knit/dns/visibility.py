"""Waits until a TXT value is really visible, so that the CA is asked only when it will see it.

Every address of every name server of the zone must show the value. After that the configured resolvers are asked,
unless switched off; a resolver that still holds an older answer for longer than the deadline is warned about and
not waited for: the CA does not look into that cache, and waiting cannot empty it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode

from knit.core.model.challenge import Record
from knit.core.servers import BLOCKED, Address, Server, unreachable, with_a_path
from knit.dns.cache import DnsCache
from knit.dns.query import NoReply, NoRoute, abreast, ask, authority, find, refusal, txt_values
from knit.dns.search import Looking
from knit.errors import NotVisible
from knit.ports.process import Sleep

log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.02
_GROWTH = 2.0
_TRY = 2.0
INSIDE = (
    "these are addresses of a private network: if it has a view of the zone of its own (split horizon), set "
    "KNIT_DNS_RESOLVERS to a resolver outside, or KNIT_DNS_PROPAGATION_WAIT to wait a fixed time"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one server showed: None in `problem` when the value was there. `answered`: it spoke at all.

    `absent`: it holds the zone and says that the value is not there. `stale` is for how many more seconds a resolver
    will repeat this answer from its cache.
    """

    problem: str | None
    answered: bool = True
    absent: bool = False
    routed: bool = True
    stale: float = 0.0


def look(server: Address, record: Record, *, recurse: bool, timeout: float) -> Look:
    """Ask one server for the value; never raises."""
    try:
        answer = ask(record.fqdn, "TXT", server, recurse=recurse, timeout=timeout)
    except NoRoute as e:
        return Look(problem=str(e), answered=False, routed=False)
    except NoReply as e:
        return Look(problem=str(e), answered=False)
    return _judge(answer, record, recurse=recurse)


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a record does not count as visible. `silent_for` seconds only silence stands in the way (0: more does)."""

    text: str
    silent_for: float = 0.0


class Visibility:
    """One wait for some records. `servers(zone, until)` gives the zone's own servers or raises NoReply."""

    def __init__(
        self,
        servers: Callable[[str, float], tuple[Server, ...]],
        resolvers: Sequence[Address],
        memory: DnsCache,
        sleep: Sleep,
        looking: Looking,
    ) -> None:
        self._servers = servers
        self._resolvers = resolvers
        self._memory = memory
        self._sleep = sleep
        self._timeout = min(_TRY, looking.timeout)
        self._silence = looking.silence
        self._started = time.monotonic()
        self._deadline = self._started

    def wait(self, records: Sequence[Record], timeout: float, interval: float) -> None:
        """Return when all is visible; raises NotVisible after `timeout` seconds. `interval` is the longest pause.

        It ends sooner where nothing but silent servers stands in the way: the next try may find them back.
        """
        self._deadline = time.monotonic() + timeout
        self._sleep(_FIRST_PAUSE)
        self._until(lambda: self._missing_at_authority(records), interval)
        if self._resolvers:
            self._until(lambda: self._missing_at_resolvers(records), interval)

    def _until(self, missing: Callable[[], list[Missing]], interval: float) -> None:
        pause = _FIRST_PAUSE
        while problems := missing():
            left = self._deadline - time.monotonic()
            if left <= 0 or all(problem.silent_for >= self._silence for problem in problems):
                raise NotVisible("; ".join(problem.text for problem in problems))
            self._sleep(min(pause, left))
            pause = min(pause * _GROWTH, interval)

    def _missing_at_authority(self, records: Sequence[Record]) -> list[Missing]:
        return [problem for record in records if (problem := self._one_authority(record)) is not None]

    def _one_authority(self, record: Record) -> Missing | None:
        waited = time.monotonic() - self._started
        try:
            servers = self._servers(record.zone, self._deadline + self._timeout)
        except NoReply as e:
            return Missing(f"the name servers of {record.zone} cannot be found ({e}); {BLOCKED}", waited)
        if not servers:
            why = f"no name server of {record.zone} has an address: its NS records are wrong or lack glue; {BLOCKED}"
            return Missing(why, waited)
        looks = self._looks(servers, record)
        if not any(seen.answered for seen in looks.values()):
            why = f"no name server of {record.zone} can be reached: {_told(looks)}; {unreachable(looks.values())}"
            return Missing(why, waited)
        asked = with_a_path(looks)
        wrong = {server: seen for server, seen in asked.items() if seen.problem is not None}
        hint = f"; {INSIDE}" if _all_inside(asked) else ""
        if not wrong:
            return None
        return Missing(f"the TXT value for {record.fqdn} is not there yet: {_told(wrong)}{hint}", self._silent(wrong))

    def _looks(self, servers: Sequence[Server], record: Record) -> dict[Server, Look]:
        found = abreast(lambda server: self._look(server.address, record, recurse=False), servers, self._check)
        looks = dict(zip(servers, found, strict=True))
        for server, seen in looks.items():
            self._memory.heard(server.address, answered=seen.answered)
        return looks

    def _silent(self, wrong: Mapping[Server, Look]) -> float:
        """For how long all of these have been silent; 0 when one of them speaks."""
        if any(seen.answered for seen in wrong.values()):
            return 0.0
        return min(self._memory.silent_for(server.address) or 0.0 for server in wrong)

    def _missing_at_resolvers(self, records: Sequence[Record]) -> list[Missing]:
        return [Missing(problem) for record in records for problem in self._one_at_resolvers(record)]

    def _one_at_resolvers(self, record: Record) -> list[str]:
        found = abreast(lambda resolver: self._look(resolver, record, recurse=True), self._resolvers, self._check)
        looks = dict(zip(self._resolvers, found, strict=True))
        return [
            f"resolver {resolver} does not show the TXT value for {record.fqdn}: {seen.problem} "
            "(its own servers do; KNIT_DNS_DISABLE_RECURSIVE_CHECK=true leaves resolvers out)"
            for resolver, seen in _speaking(looks, record).items()
            if seen.problem is not None and not _hopeless(resolver, record, seen, self._deadline)
        ]

    def _check(self) -> None:
        """A stop is noticed between two few of dead servers."""
        self._sleep(0)

    def _look(self, server: Address, record: Record, *, recurse: bool) -> Look:
        """The last look begins at the deadline and may last as long as any; later ones see nothing."""
        left = self._deadline + self._timeout - time.monotonic()
        if left <= 0:
            return Look(problem="was not asked in time", answered=False)
        return look(server, record, recurse=recurse, timeout=min(self._timeout, left))


def _judge(answer: dns.message.Message, record: Record, *, recurse: bool) -> Look:
    values = txt_values(answer, record.fqdn)
    if record.value in values:
        return Look(problem=None)
    if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return Look(problem=refusal(answer, recurse=recurse))
    if not recurse and not answer.flags & dns.flags.AA:
        return Look(problem="is lame: it does not hold this zone")
    if values:
        return Look(problem=f"shows {len(values)} other value(s)", absent=True, stale=_stale(answer, record))
    problem = "shows no such name" if answer.rcode() else "shows no TXT record"
    return Look(problem=problem, absent=True, stale=_stale(answer, record))


def _stale(answer: dns.message.Message, record: Record) -> float:
    """Seconds this answer stays in a resolver's cache: the TTL of the records, or of the SOA (RFC 2308 section 5)."""
    rrset = find(answer, record.fqdn, "TXT") or authority(answer, "SOA")
    return 0.0 if rrset is None else float(rrset.ttl)


def _hopeless(resolver: Address, record: Record, seen: Look, deadline: float) -> bool:
    if seen.stale <= max(0.0, deadline - time.monotonic()):
        return False
    extra = {"resolver": str(resolver), "fqdn": record.fqdn, "seconds": int(seen.stale)}
    log.warning("resolver keeps an old answer, not waiting for it", extra=extra)
    return True


def _speaking(looks: dict[Address, Look], record: Record) -> dict[Address, Look]:
    """Leave out resolvers that are silent while others answer: the CA does not ask them, either."""
    if not any(seen.answered for seen in looks.values()):
        return looks
    for resolver in (resolver for resolver, seen in looks.items() if not seen.answered):
        extra = {"resolver": str(resolver), "fqdn": record.fqdn, "why": looks[resolver].problem}
        log.warning("resolver does not answer, not waiting for it", extra=extra)
    return {resolver: seen for resolver, seen in looks.items() if seen.answered}


def _all_inside(looks: Mapping[Server, Look]) -> bool:
    """Whether a network of its own may be all we see: private addresses, and nobody there has the value."""
    return all(server.address.is_private and seen.absent for server, seen in looks.items())


def _told(looks: dict[Server, Look]) -> str:
    return ", ".join(f"{server} {seen.problem}" for server, seen in _first(looks.items()))


def _first(items: Iterable[tuple[Server, Look]]) -> list[tuple[Server, Look]]:
    return list(items)[:8]
