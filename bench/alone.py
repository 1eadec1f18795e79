"""What a command like lego's does, as a worker does it: an order, its names proved by signed DNS updates, the chain.

No journal, no queue, no Valkey: the issuer and the solver alone, with the checks of what was issued.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.acme_cpu import Party
from bench.centre import BY_DNS_UPDATE, dns, name_of
from bench.timing import median
from knit.app.locks import KeyedLocks
from knit.core import x509
from knit.core.model.attempt import IssueRequest
from knit.core.model.certificate import Bundle
from knit.core.model.issuer import UNNAMED
from knit.core.model.keys import KeyType
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.prover import Dns01, Shared
from knit.issuers.acme import AcmeIssuer, Site
from knit.providers.base import Runtime
from knit.providers.registry import Registry
from knit.settings.environment import Environment
from rig.knot import Knot
from rig.pebble import Pebble


@dataclass(slots=True)
class Alone:
    """In this process, on this CA and DNS server."""

    knot: Knot
    pebble: Pebble
    spent: list[float] = field(default_factory=list)
    _issuer: AcmeIssuer = field(init=False)
    _shared: Shared = field(init=False)
    _solvers: Registry = field(init=False)
    _party: Party = field(default_factory=Party)

    def __post_init__(self) -> None:
        site = Site(name=UNNAMED, directory=self.pebble.directory_url, ca_files=(str(self.pebble.ca_file),))
        self._issuer = AcmeIssuer(site, self._party, self._party, _now, time.sleep)
        looking = Looking(resolvers=(self.knot.address,), wait=0)
        delegation = DnsDelegation(looking, time.sleep)
        self._shared = Shared(delegation=delegation, exclusive=KeyedLocks())
        runtime = Runtime(clock=_now, sleep=time.sleep, resolvers=(self.knot.address,))
        self._solvers = Registry(Environment(dict(dns(self.knot))), runtime)

    @property
    def cpu(self) -> float:
        """Seconds for each certificate; the first round is left out."""
        return median(self.spent[1:])

    def round(self, count: int, in_flight: int) -> None:
        """So many certificates."""
        names = [name_of(f"alone{len(self.spent)}-", number) for number in range(count)]
        before = time.process_time()
        with ThreadPoolExecutor(in_flight) as threads:
            list(threads.map(self._issue, names))
        self.spent.append((time.process_time() - before) / count)

    def _issue(self, name: str) -> None:
        key = x509.CertKey.new(KeyType.EC256)
        prover = Dns01(BY_DNS_UPDATE, self._solvers.solver(BY_DNS_UPDATE), self._party, self._shared)
        chain = self._issuer.issue(IssueRequest(names=(name,), csr_der=key.csr((name,))), self._party, prover)
        x509.check(Bundle(fullchain=chain, privkey=key.pem), (name,), _now(), key)


def _now() -> datetime:
    return datetime.now(UTC)
