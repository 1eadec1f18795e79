"""What was found out about a name in the DNS, for `knit dns check`; knit.core.findings says what it means."""

from __future__ import annotations

from dataclasses import dataclass

from knit.core.caa import Caa
from knit.core.servers import Address, Server
from knit.errors import KnitError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What one server of the zone says of the zone: its serial, or the problem; and the TXT values it shows.

    `answered` and `routed` as in knit.dns.visibility.Look.
    """

    server: Server
    serial: int | None
    problem: str | None
    answered: bool = True
    routed: bool = True
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverFacts:
    """What one resolver says of the zone. `dnssec`: it would answer if it did not check signatures."""

    resolver: Address
    serial: int | None
    problem: str | None
    answered: bool = True
    dnssec: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaFacts:
    """The relevant CAA set and where it was found (None: nowhere), or why it could not be read."""

    owner: str | None
    records: tuple[Caa, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFacts:
    """What the servers of the last zone of the chain say, or why they could not be found.

    `nameless` are name servers without an address. `wildcard` holds the TXT values that any name shows.
    `waits`: a fixed wait stands for asking them. `exists` is whether there is any such name as the certificate's.
    """

    servers: tuple[ServerFacts, ...] = ()
    nameless: tuple[str, ...] = ()
    problem: str | None = None
    resolvers: tuple[ResolverFacts, ...] = ()
    wildcard: frozenset[str] = frozenset()
    waits: bool = False
    exists: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsFacts:
    """All that was found out. `chain` holds (name, zone) to the end of the CNAME chain; empty with `problem`.

    `confined`: the provider's account may write only at names that the user has listed, or that were made for it.
    """

    name: str
    caa: CaaFacts
    chain: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    zone: ZoneFacts = ZoneFacts()
    probed: bool = False
    probe: KnitError | None = None
    confined: bool = False
