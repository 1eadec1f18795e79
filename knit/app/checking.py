"""What `knit dns check` has open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from knit.app.issuing import where
from knit.app.locks import KeyedLocks, LeasedLocks
from knit.app.names import person
from knit.app.proving import delegation, solvers
from knit.core.caa import CaaIssuer
from knit.core.dns_facts import DnsFacts
from knit.core.findings import Finding, judge, of_silent_ca, of_unnamed_ca
from knit.dns.check import Probe, gather
from knit.dns.delegation import DnsDelegation
from knit.errors import KnitError, Misconfigured
from knit.ports.process import Sleep
from knit.ports.solving import Exclusive, Solvers
from knit.settings.central import Dns
from knit.settings.environment import Environment
from knit.settings.issuers import described
from knit.settings.openable import Acme
from knit.settings.variables import SETTINGS
from knit.store.accounts.accounts import Accounts
from knit.store.accounts.sealing import Seal
from knit.store.database import Database
from knit.store.leases.leases import Leases


@dataclass(frozen=True, slots=True, kw_only=True)
class Checking:
    """Looks at a name as an order would. `database` is None where this machine does not know the workers' one."""

    acme: Acme
    delegation: DnsDelegation
    solvers: Solvers
    exclusive: Exclusive
    database: Database | None
    sleep: Sleep

    def facts(self, name: str, provider: str | None, probing: Callable[[float], None]) -> DnsFacts:
        """With a provider also what a probe value comes to; `probing` hears for how long (seconds) it may take."""
        if provider is None:
            return gather(name, self.delegation, None)
        solver = self.solvers.solver(provider)
        probing(solver.timeout)
        probe = Probe(code=self.solvers.code(provider), solver=solver, exclusive=self.exclusive)
        return gather(name, self.delegation, probe)

    def findings(self, facts: DnsFacts) -> list[Finding]:
        """What they mean; where the CA does not say who it is, CAA records are shown instead of judged."""
        try:
            identities = where(self.acme, self.sleep).caa_identities()
        except KnitError as error:
            return of_silent_ca(facts, str(error))
        findings = judge(facts, CaaIssuer(identities=identities, account_uri=self._account_uri()))
        if identities or facts.caa.problem is not None or not facts.caa.records:
            return findings
        return of_unnamed_ca(facts, findings, self.acme.terms.directory)

    def _account_uri(self) -> str | None:
        """Our account, where this machine knows the database."""
        terms = self.acme.terms
        account = None if self.database is None else Accounts(self.database, Seal()).kept(terms.directory, terms.name)
        return None if account is None else account.uri


def _asked(env: Environment, issuer: str | None) -> Acme:
    """This issuer; without a name the first, of those for certificates that name none, that asks for proofs.

    Only what describes it is read. Raises Misconfigured.
    """
    who = described(env)
    kinds = {one.name: one.kind for one in who.terms}
    if issuer is not None and issuer not in kinds:
        raise Misconfigured(f"no issuer is called {issuer!r}; configured: {', '.join(kinds)}")
    asked = who.default if issuer is None else (issuer,)
    name = next((one for one in asked if kinds[one] == "acme"), None)
    if name is None:
        others = [one for one, kind in kinds.items() if kind == "acme"]
        hint = f"; name another: --issuer {' or '.join(others)}" if others else ""
        raise Misconfigured(
            f"{', '.join(asked)}: asks for no proofs of names: there is nothing to check in the DNS{hint}"
        )
    one = who.one(name)
    assert isinstance(one, Acme)
    return one


@contextmanager
def open_checking(env: Environment, issuer: str | None, sleep: Sleep) -> Iterator[Checking]:
    """As an order from this issuer would, or from the default one; from the environment.

    Takes turns with the workers, where this machine knows their database.
    """
    url, dns = SETTINGS["KNIT_DB_URL"].read(env), Dns.read(env)

    def over(exclusive: Exclusive, database: Database | None) -> Checking:
        return Checking(
            acme=_asked(env, issuer),
            delegation=delegation(dns, sleep),
            solvers=solvers(env, dns, sleep),
            exclusive=exclusive,
            database=database,
            sleep=sleep,
        )

    if url is None:
        yield over(KeyedLocks(), None)
        return
    with Database.open(url, name=person()) as database:
        leases = Leases(database)
        try:
            yield over(LeasedLocks(leases, sleep), database)
        finally:
            leases.stop()
