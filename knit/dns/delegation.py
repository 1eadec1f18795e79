"""Where a challenge name really lives, and who can see it: implements ports.Delegation."""

from __future__ import annotations

import time
from collections.abc import Sequence

import dns.message

from knit.core.model.challenge import Challenge, Record
from knit.core.servers import Address, NameServers, Server
from knit.dns.cache import DnsCache
from knit.dns.query import NoReply, abreast, resolved, system_resolvers
from knit.dns.search import HOPS, Looking, Search
from knit.dns.visibility import Visibility, look
from knit.errors import Unreachable
from knit.ports.process import Sleep

_SHORT = 2.0


class DnsDelegation:
    """Looks as `Looking` says. Safe to share between threads; remembers servers, and silent ones, for a minute."""

    def __init__(self, looking: Looking, sleep: Sleep) -> None:
        self._looking = looking
        self._sleep = sleep
        self._resolvers = _addresses(looking.resolvers)
        self._memory = DnsCache()

    def locate(self, challenge: Challenge) -> Record:
        """The place the TXT value belongs: the CNAME chain's end and the zone cut above it. Raises as `chain` does."""
        chain = self.chain(challenge.name)
        return Record(challenge=challenge, fqdn=chain[-1][0], zone=chain[-1][1])

    def chain(self, name: str) -> tuple[tuple[str, str], ...]:
        """Every (name, zone) of the CNAME chain from `name` to its end.

        Raises Unreachable when the DNS does not answer, Refused for chains that loop or are too long and for names
        in no zone.
        """
        return self._search().chain(name, by_authority=bool(self.checked))

    def wait_visible(self, records: Sequence[Record], *, timeout: float, interval: float) -> None:
        """See ports.Delegation."""
        if self._looking.wait is not None:
            self._sleep(self._looking.wait)
            return
        Visibility(self._servers, self.checked, self._memory, self._sleep, self._looking).wait(
            records, timeout, interval
        )

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
            servers = self._servers(record.zone)
        except NoReply:
            return False
        if not servers or any(self._memory.silent_for(server.address) is not None for server in servers):
            return False
        timeout = min(_SHORT, self._looking.timeout)
        looks = abreast(
            lambda server: look(server.address, record, recurse=False, timeout=timeout),
            servers,
            lambda: self._sleep(0),
        )
        return all(seen.absent for seen in looks)

    def name_servers(self, zone: str) -> NameServers:
        """The addresses of each name server of the zone, none for a name that has none; raises NoReply."""
        return self._search().name_servers(zone)

    def resolve(self, name: str, kind: str) -> dns.message.Message:
        """Ask the configured resolvers; raises NoReply."""
        return self._search().resolve(name, kind)

    def zone_of(self, name: str) -> str:
        """The zone that holds the name, as the resolvers see it; empty for the root. Raises NoReply."""
        return self._search().zone_of(name)

    def _servers(self, zone: str, until: float | None = None) -> tuple[Server, ...]:
        found = self._search(until).name_servers(zone)
        return tuple(server for servers in found.values() for server in servers)

    def _search(self, until: float | None = None) -> Search:
        """A search that ends when its patience is over, and at `until` (monotonic) at the latest."""
        over = time.monotonic() + self._looking.longest
        until = over if until is None else min(until, over)
        return Search(self._looking, self._resolvers, self._memory, self._sleep, until=until)


def _addresses(resolvers: tuple[str, ...] | None) -> tuple[Address, ...]:
    if resolvers is None:
        return system_resolvers()
    try:
        return tuple(address for resolver in resolvers for address in resolved(resolver))
    except OSError as e:
        raise Unreachable(f"KNIT_DNS_RESOLVERS: a resolver's name has no address ({e.strerror})") from None


__all__ = ["HOPS", "DnsDelegation", "Looking"]
