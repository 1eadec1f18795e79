"""The DNS side of a process: solvers of the providers, and a prover over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from knit.app.clock import now
from knit.core.model.challenge import ChallengeId, Leftover
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.pauses import Pauses
from knit.dns.prover import Dns01, Shared, sweep
from knit.ports.journal import Journal
from knit.ports.process import Sleep
from knit.ports.solving import Exclusive, Prover, Solvers
from knit.providers.base import Runtime
from knit.providers.http.tls import Trust
from knit.providers.registry import Registry
from knit.settings.central import Dns


def delegation(dns: Dns, sleep: Sleep) -> DnsDelegation:
    """Looks at the DNS as the settings say."""
    looking = Looking(
        resolvers=dns.resolvers,
        timeout=dns.timeout,
        recursive_check=dns.recursive_check,
        wait=dns.wait,
        follow_cname=dns.follow_cname,
    )
    return DnsDelegation(looking, sleep)


def solvers(env: Mapping[str, str], dns: Dns, sleep: Sleep) -> Registry:
    """The providers' solvers, with the credentials that are in this environment."""
    trust = Trust(file=dns.ca_file, folders=dns.ca_folders)
    return Registry(env, Runtime(clock=now, sleep=sleep, resolvers=dns.resolvers or (), trust=trust))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proving:
    """Provers for attempts, and the sweep of what earlier ones left behind."""

    solvers: Solvers
    delegation: DnsDelegation
    shared: Shared
    removed: Callable[[ChallengeId], None]

    def prover(self, provider: str, journal: Journal) -> Prover:
        """For one attempt. Raises Misconfigured when a credential is missing."""
        return Dns01(self.solvers.code(provider), self.solvers.solver(provider), journal, self.shared)

    def sweep(self, leftovers: Sequence[Leftover]) -> None:
        """Remove records that an earlier attempt left behind."""
        sweep(leftovers, self.solvers, self.removed, self.shared.exclusive, self.delegation.is_gone)


def proving(
    env: Mapping[str, str], dns: Dns, sleep: Sleep, exclusive: Exclusive, removed: Callable[[ChallengeId], None]
) -> Proving:
    """From the settings; `removed` hears of each leftover that is gone."""
    looking = delegation(dns, sleep)
    shared = Shared(delegation=looking, exclusive=exclusive, pauses=Pauses(sleep))
    return Proving(solvers=solvers(env, dns, sleep), delegation=looking, shared=shared, removed=removed)
