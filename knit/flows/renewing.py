"""A renewal that is due: its attempt, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from knit.core import ari, brake, budget, choice, postponing, retry, x509
from knit.core.budget import Cost
from knit.core.choice import Standing
from knit.core.events import KEPT, Kind, Severity, Told
from knit.core.imported import IMPORTED
from knit.core.limits import Limit
from knit.core.model.attempt import BEFORE_FINALIZE, Attempt, Failed, Outcome, Skipped
from knit.core.model.certificate import CertSpec
from knit.core.model.challenge import Leftover
from knit.core.model.decision import CertState, Known, Reason, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.model.keys import KeyType
from knit.core.value import Value
from knit.errors import (
    AccountLimited,
    AccountUnusable,
    BundleMismatch,
    Busy,
    Interrupted,
    IssuerDown,
    IssuerUnusable,
    KeyRefused,
    LeaseLost,
    Misconfigured,
    NotOffered,
    OrderKept,
    OrderLost,
    Outage,
    OverBudget,
    RateLimited,
    Refused,
    ServerDenied,
    Transient,
)
from knit.flows.belonging import Belonging
from knit.flows.ca_pauses import CaPauses
from knit.flows.orders import Ordering
from knit.flows.proving import FORGIVEN
from knit.flows.room import Room, model_of
from knit.flows.values import Values
from knit.ports.events import Listener
from knit.ports.issuing import Issuer, IssuerMemory, Issuers
from knit.ports.journal import Attempts, Forgiven, Holding, Journal
from knit.ports.leases import Lease, Places
from knit.ports.process import Clock, Retries
from knit.ports.publication import Publication
from knit.ports.solving import Prover
from knit.ports.staging import Staging

MOST_LOST = 2
"""Finalized orders of one certificate that may be lost within a week: the CA gives few certificates for one set."""

TRIAL = (
    "its issuer's certificates are for trials, and what is published comes from {directory}, which is not: nothing is "
    "ordered before `knit set --id {id} --allow-staging`"
)

KEPT_KEY = (
    "the key is the one that `--reuse-key` keeps: `knit set --id {id} --no-reuse-key` has the next try make a new one "
    "(mind pinned keys and TLSA records)"
)

HELD_BACK = timedelta(hours=1)


class Superseded(Transient):
    """What is live was newer than what was recorded, and is recorded now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewPorts:
    """What renewals need. `prover` builds a DNS-01 prover for a provider; `sweep` removes old TXT values."""

    holding: Holding
    store: Attempts
    memory: IssuerMemory
    staging: Staging
    publication: Publication
    belonging: Belonging
    values: Values
    issuers: Issuers
    prover: Callable[[str, Journal], Prover]
    sweep: Callable[[Sequence[Leftover]], None]
    room: Room
    places: Places
    rules: Rules
    clock: Clock
    retries: Retries
    tell: Listener

    @property
    def pauses(self) -> CaPauses:
        """The pauses that CAs have asked for."""
        return CaPauses(store=self.store, room=self.room, clock=self.clock, tell=self.tell)

    def terms(self, attempt: Attempt) -> Terms:
        """The terms of an attempt's issuer, whatever its name by now. Raises Misconfigured when there is none."""
        terms = self.rules.at(attempt.directory, attempt.issuer)
        if terms is None:
            raise Misconfigured(f"no issuer here has the directory {attempt.directory}")
        return terms

    def issuer(self, attempt: Attempt) -> Issuer:
        """Who fills its order. Raises IssuerUnusable."""
        try:
            return self.issuers.issuer(self.terms(attempt).name)
        except Misconfigured as error:
            raise IssuerUnusable(str(error)) from None

    def failures(self, attempt: Attempt) -> Forgiven:
        """How often proofs of a name may fail at its CA."""
        rate = model_of(self.terms(attempt)).rates.get(Limit.FAILURES)
        return FORGIVEN if rate is None else Forgiven(budget.most(rate, budget.WAITS), rate.every * rate.count)

    def abandon(self, lease: Lease, attempt: Attempt, why: str) -> None:
        """End an attempt that nobody needs any more."""
        self.store.abandon(lease, attempt, why=why)
        self._discard(attempt, why)

    def leave(self, lease: Lease, attempt: Attempt, why: str) -> None:
        """End an attempt, whose order cannot have become a certificate, for another one."""
        self.store.leave(lease, attempt, why=why)
        self._discard(attempt, why)

    def _discard(self, attempt: Attempt, why: str) -> None:
        self.staging.discard([attempt.id])
        told = Told(
            kind=Kind.IMPORT_ABANDONED if attempt.issuer == IMPORTED else Kind.RENEWAL_ABANDONED,
            severity=Severity.NOTICE,
            cert_id=attempt.cert_id,
            attempt_id=attempt.id,
            detail={"reason": why},
        )
        self.tell(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewing:
    """One certificate that is to be renewed, while its lease is held."""

    ports: RenewPorts
    spec: CertSpec
    known: Known
    lease: Lease

    def refuse(self, error: Refused | Misconfigured) -> Failed:
        """Record that nothing can be begun."""
        at = self._after_a_failure()
        self.ports.store.refuse(self.spec.id, error=error, retry_at=at)
        return self._tell_failed(None, error, at)

    def choose(self) -> Terms:
        """Which of the certificate's issuers is asked now. It stays with the only one, whatever that has said.

        Raises Refused when all of them are for trials, and what is published is not.
        """
        wanted = self._wanted()
        if not wanted:
            issued = self.known.state.issued
            raise Refused(TRIAL.format(directory="" if issued is None else issued.directory, id=self.spec.id))
        if len(wanted) == 1:
            return wanted[0]
        return choice.choose(wanted, self._standings(wanted), self.ports.clock())

    def _wanted(self) -> tuple[Terms, ...]:
        rules, issued = self.ports.rules, self.known.state.issued
        return choice.replacing(rules.terms_of(self.spec), self.spec, issued, rules)

    def _standings(self, wanted: Sequence[Terms]) -> Mapping[str, Standing]:
        issued = self.known.state.issued
        found = self.ports.store.standings(self.spec.id, wanted, None if issued is None else issued.issued_at)
        return {terms.directory: self._with_budget(terms, found[terms.directory]) for terms in wanted}

    def _with_budget(self, terms: Terms, standing: Standing) -> Standing:
        """What is open there, and has not given its room to others, needs none."""
        attempt = self.known.state.attempt
        if attempt is not None and attempt.directory == terms.directory and attempt.admitted:
            return standing
        wait = self.ports.room.until(self._costs(terms), self._share)
        if wait is None:
            return standing
        return replace(standing, waits_until=max(wait.until, standing.waits_until or wait.until))

    def check_newest(self, attempt: Attempt | None) -> None:
        """Nothing is ordered for what an older database says. Raises Superseded."""
        if not self.ports.values.take_newer(self.spec, self.known.state.issued, self.ports.belonging.id):
            return
        why = "a newer certificate than the recorded one is published"
        if attempt is not None:
            self.ports.abandon(self.lease, attempt, why)
        raise Superseded(why)

    def without_room(self, terms: Terms) -> Skipped | None:
        """None when the limits of this CA leave room for another order now; else the wait, which is recorded.

        An attempt without an order has nothing to go on with then: it waits as one that was never begun.
        """
        wait = self.ports.room.until(self._costs(terms), self._share)
        if wait is None:
            return None
        attempt = self.known.state.attempt
        if attempt is not None and attempt.directory == terms.directory:
            self.ports.leave(self.lease, attempt, wait.reason)
        return self._over_budget(wait)

    def _costs(self, terms: Terms, *, spared: bool = True) -> tuple[Cost, ...]:
        """What an order there costs."""
        return self.ports.room.costs(self.spec.names, self.known.state, terms, self.ports.clock(), spared=spared)

    @property
    def _share(self) -> float:
        """How much of each bucket it may use."""
        return budget.share(self.known.state, self.ports.clock())

    def begin(self, reason: Reason, terms: Terms) -> Outcome:
        """Open an attempt at the issuer with these terms, in the journal before any work."""
        state = self.known.state
        asked, newest = terms.asked(self.spec), self.known.newest
        key = self._kept_key(asked.key_type) or x509.CertKey.new(asked.key_type)
        try:
            attempt = self.ports.store.begin(
                self.lease,
                self.spec,
                reason,
                asked,
                key.spki_sha256,
                newest=newest,
                replaces=ari.replaced(state, terms.directory, self.spec.names),
                costs=self._costs(terms),
                unspared=self._costs(terms, spared=False),
                share=self._share,
            )
        except OverBudget as error:
            # Where there are several issuers, the next pass looks which of them has room first.
            at = error.retry_at if len(self._wanted()) == 1 else None
            return self._over_budget(Wait(until=at or self.ports.clock(), reason=str(error)))
        return replace(self, known=replace(self.known, tries=0)).go_on(attempt, key)

    def _kept_key(self, key_type: KeyType) -> x509.CertKey | None:
        """The published one, where it is to be used again, is of the wanted kind and in nobody else's hands."""
        issued = self.known.state.issued
        if issued is None or not self.spec.reuse_key:
            return None
        raw = self.ports.publication.live([issued.valkey_key]).get(issued.valkey_key)
        try:
            value = None if raw is None else Value.from_wire(raw)
            key = None if value is None or value.sha256 != issued.sha256 else x509.CertKey.of(value.privkey)
        except BundleMismatch:
            return None
        if key is None or key.key_type is not key_type or key.spki_sha256 in self.ports.values.home.compromised():
            return None
        return key

    def _over_budget(self, wait: Wait) -> Skipped:
        """Nothing has failed, and nothing was begun."""
        now, issued = self.ports.clock(), self.known.state.issued
        wait = replace(wait, until=budget.look_again(wait.until, now if issued is None else issued.not_after, now))
        self.ports.room.store.wait({self.spec.id: wait}, self.ports.rules)
        self._tell(Kind.RENEWAL_POSTPONED, Severity.NOTICE, None, names=self.spec.names_key, **_told(wait))
        return Skipped(cert_id=self.spec.id, reason=wait.reason, until=wait.until)

    def resume(self, attempt: Attempt) -> Outcome:
        """Go on with an attempt that somebody has begun; with another in its place where it has no order, nor room."""
        try:
            resumed = self.ports.store.resume(self.lease, attempt)
        except OverBudget as error:
            return self._anew(attempt, error, self.known.state)
        return self.go_on(resumed)

    def _anew(self, attempt: Attempt, error: OverBudget, state: CertState) -> Outcome:
        self.ports.leave(self.lease, attempt, str(error))
        anew = replace(self, known=replace(self.known, newest=attempt.id, state=state))
        return anew.begin(Reason.UNFINISHED, self.ports.terms(attempt))

    def go_on(self, attempt: Attempt, key: x509.CertKey | None = None) -> Outcome:
        """Fill its order, or record why that failed.

        `key` is one that is not staged yet, of an attempt that has just been opened for it.
        """
        try:
            if attempt.starts > retry.MAX_STARTS:
                message = f"the worker died {attempt.starts - 1} times in a row in this attempt"
                raise Transient(message)  # noqa: TRY301 -- recorded by the same handler as any other failure
            return Ordering(ports=self.ports, spec=self.spec, attempt=attempt, lease=self.lease).fill(key)
        except LeaseLost:
            raise
        except OverBudget as error:
            # An order that may not replace what is issued is counted, and so is one that follows one that is over.
            return self._anew(attempt, error, replace(self.known.state, unreplaced=True))
        except (Busy, Interrupted, Outage, ServerDenied) as error:
            self.ports.store.postpone(self.lease, attempt, error=error, retry_at=self.ports.clock())
            raise
        except (Transient, BundleMismatch) as error:
            found = self._for_good(attempt, error)
            if isinstance(found, AccountLimited):
                self.ports.pauses.begin_pause(attempt, self.ports.terms(attempt), found)
            return self._postpone(attempt, found, self._next_try(attempt, found))
        except OrderLost as error:
            return self._start_over(attempt, error)
        except (Refused, Misconfigured) as error:
            return self._give_up(attempt, self._advised(attempt, error), self._after_refusal(attempt, error))

    def may_leave(self, attempt: Attempt) -> bool:
        """Whether another issuer may be asked though the order of this attempt may have been finalized."""
        over_at = choice.over_at(attempt)
        return over_at is not None and over_at <= self.ports.clock() and len(self._wanted()) > 1

    def _for_good(self, attempt: Attempt, error: Transient | BundleMismatch) -> Transient | BundleMismatch:
        """A CA that does not give what it may have issued is down, for us, once nothing can come of the order."""
        if not isinstance(error, OrderKept) or not self.may_leave(attempt):
            return error
        return IssuerDown(f"{error}; the order has run out: another issuer may be asked", retry_at=error.retry_at)

    def _next_try(self, attempt: Attempt, error: Transient | BundleMismatch) -> datetime:
        return postponing.next_try(
            self.spec.id,
            self.known,
            attempt,
            error,
            self.ports.clock(),
            elsewhere=isinstance(error, IssuerDown | AccountLimited) and self._may_go_elsewhere(attempt),
            others=len(self._wanted()) > 1,
        )

    def _may_go_elsewhere(self, attempt: Attempt) -> bool:
        """Whether another issuer can be asked at the next try, however long this one wants to be left alone."""
        wanted = self._wanted()
        if len(wanted) == 1 or not (attempt.step in BEFORE_FINALIZE or self.may_leave(attempt)):
            return False
        return choice.another(wanted, self._standings(wanted), attempt.directory, self.ports.clock())

    def _after_refusal(self, attempt: Attempt, error: Refused | Misconfigured) -> datetime:
        """Where that is no word on the names, another issuer is asked after the first step of the ladder."""
        if not isinstance(error, AccountUnusable | NotOffered | IssuerUnusable):
            return self._after_a_failure()
        wanted, now = self._wanted(), self.ports.clock()
        elsewhere = choice.another(wanted, self._standings(wanted), attempt.directory, now)
        return retry.next_try(self.spec.id, 1, now) if elsewhere else self._after_a_failure()

    def _advised(self, attempt: Attempt, error: Refused | Misconfigured) -> Refused | Misconfigured:
        """A key that is kept, and that a CA does not take any more, would be asked for at every try."""
        if not isinstance(error, KeyRefused):
            return error
        kept = self._kept_key(KeyType(attempt.key_type))
        if kept is None or kept.spki_sha256 != attempt.spki_sha256:
            return error
        return KeyRefused(f"{error}; {KEPT_KEY.format(id=self.spec.id)}")

    def _start_over(self, attempt: Attempt, error: OrderLost) -> Outcome:
        """Another order in place of one that is lost, while few are: what loses one often loses them all."""
        self.check_newest(attempt)
        cert_id, store, clock = self.spec.id, self.ports.store, self.ports.clock
        losses = store.losses(cert_id, most=MOST_LOST)
        if losses.until is not None:
            often = OrderLost(
                f"{error}; that is once more than is safe in 7 days, so no other order is made before then"
            )
            at = max(losses.until, retry.next_try(cert_id, len(retry.LADDER), clock()))
            return self._give_up(attempt, often, at)
        if not brake.room(enabled=losses.enabled, begun=losses.begun):
            at = clock() + HELD_BACK + retry.APART * retry.fraction(cert_id, "lost")
            kept = OrderKept(f"{error}, as are many others: another order is held back", retry_at=at)
            return self._postpone(attempt, kept, at)
        store.lose(self.lease, attempt, error=error)
        self._tell(Kind.RENEWAL_ABANDONED, Severity.WARNING, attempt, reason=str(error), next="another order")
        anew = replace(self, known=replace(self.known, newest=attempt.id))
        return anew.begin(Reason.UNFINISHED, self.ports.terms(attempt))

    def _postpone(self, attempt: Attempt, error: Transient | BundleMismatch, at: datetime) -> Failed:
        """The attempt stays open. Counts as a failure, except when the CA only asked us to wait."""
        self.ports.store.postpone(self.lease, attempt, error=error, retry_at=at)
        if isinstance(error, RateLimited):
            return self._tell_failed(attempt, error, at, Kind.RENEWAL_POSTPONED, Severity.WARNING)
        return self._tell_failed(attempt, error, at)

    def _give_up(self, attempt: Attempt, error: Exception, at: datetime) -> Failed:
        self.ports.store.fail(self.lease, attempt, error=error, retry_at=at)
        self.ports.staging.discard([attempt.id])
        return self._tell_failed(attempt, error, at)

    def _tell_failed(
        self,
        attempt: Attempt | None,
        error: Exception,
        at: datetime,
        kind: Kind = Kind.RENEWAL_FAILED,
        severity: Severity = Severity.ERROR,
    ) -> Failed:
        """Tell which certificate it is, what happened, what is kept, and when the next try is."""
        state = self.known.state
        kept = {"kept": KEPT} if state.issued is not None and state.published else {}
        self._tell(kind, severity, attempt, names=self.spec.names_key, error=str(error), **kept, next_try=at)
        return Failed(cert_id=self.spec.id, error=str(error), retry_at=at)

    def _tell(self, kind: Kind, severity: Severity, attempt: Attempt | None, **detail: object) -> None:
        attempt_id = None if attempt is None else attempt.id
        told = Told(kind=kind, severity=severity, cert_id=self.spec.id, attempt_id=attempt_id, detail=detail)
        self.ports.tell(told)

    def _after_a_failure(self) -> datetime:
        return retry.next_try(self.spec.id, self.known.state.failures + 1, self.ports.clock())


def _told(wait: Wait) -> dict[str, object]:
    return {"reason": wait.reason, "next_try": wait.until}
