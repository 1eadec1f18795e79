"""One certificate, from "is it due" to a checked bundle in staging."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from knit.core import issuers, lost, renewal, retry, x509
from knit.core.digest import pair_digest
from knit.core.model.attempt import Attempt, Failed, IssueRequest, Outcome, Renewed, Skipped, Step
from knit.core.model.certificate import Bundle, CertId, CertSpec, Issued, Leaf
from knit.core.model.challenge import Leftover
from knit.core.model.decision import CertState, Due, Known, Reason, Rules
from knit.core.model.issuer import Terms
from knit.core.value import Value
from knit.errors import (
    AccountLimited,
    BundleMismatch,
    Busy,
    ForeignValkey,
    Interrupted,
    LeaseLost,
    Misconfigured,
    NoSuchCertificate,
    NotPermitted,
    OrderKept,
    OrderLost,
    Outage,
    RateLimited,
    Refused,
    ServerDenied,
    Transient,
)
from knit.flows.belonging import Belonging
from knit.flows.limits import Limits
from knit.flows.proving import Counted
from knit.flows.values import Values
from knit.ports.issuing import Issuer, IssuerMemory, Issuers
from knit.ports.journal import Attempts, Journal
from knit.ports.leases import Lease
from knit.ports.process import Clock, Retries
from knit.ports.publication import Publication
from knit.ports.solving import Prover
from knit.ports.staging import Staging

log = logging.getLogger(__name__)

MOST_LOST = 2
"""Finalized orders of one certificate that may be lost within a week: the CA gives few certificates for one set."""

WEEK = timedelta(days=7)
HELD_BACK = timedelta(hours=1)
ANOTHER = "another worker is on it"
KEPT = "what is published stays"
KEY_LOST = (
    "the key of a finalized order is gone from Valkey, which must keep what it is given (persistence, noeviction)"
)
UNFIT = "it is kept and looked at again; `knit renew --force` orders another"
BEFORE_FINALIZE = (Step.PLANNED, Step.KEY_STAGED, Step.ORDERED)


class Outdated(Transient):
    """What is live was newer than what was recorded, and is recorded now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """The flow with its ports. `prover` builds a DNS-01 prover for a provider; `sweep` removes old TXT values."""

    store: Attempts
    memory: IssuerMemory
    staging: Staging
    publication: Publication
    belonging: Belonging
    values: Values
    issuers: Issuers
    prover: Callable[[str, Journal], Prover]
    sweep: Callable[[Sequence[Leftover]], None]
    rules: Rules
    clock: Clock
    retries: Retries

    def run(self, cert_id: CertId) -> Outcome:
        """Renew this certificate if it is due. Failures are recorded and returned, not raised.

        Raises Interrupted when the process is stopping, LeaseLost when another worker took over, Busy when another
        certificate has what this one needs, and Outage or ServerDenied when PostgreSQL or the certificate Valkey is
        away or shuts us out; in each case the journal says where to go on, and no failure is counted. Raises Transient,
        with nothing done, when the clock here is wrong.
        """
        try:
            return self._looked_at_anew(cert_id)
        except NoSuchCertificate:
            return Skipped(cert_id=cert_id, reason="removed or disabled")
        except NotPermitted as error:
            self.store.denied(cert_id, error)
            raise

    def _looked_at_anew(self, cert_id: CertId) -> Outcome:
        try:
            return self._held(cert_id)
        except Outdated:
            return self._held(cert_id)

    def _held(self, cert_id: CertId) -> Outcome:
        with self.store.hold(cert_id) as held:
            if held is None:
                return Skipped(cert_id=cert_id, reason=ANOTHER, busy=True)
            lease, known = held
            self._check_clock(lease)
            if known.spec is not None and self.rules.terms(known.spec.issuer) is None:
                return self._unknown_issuer(known.spec, known.state)
            if known.spec is not None and (why := self._refusal(known.spec, known.directory)):
                return Skipped(cert_id=cert_id, reason=why, busy=True)
            return self._in_turn(cert_id, known, lease)

    def _in_turn(self, cert_id: CertId, known: Known, lease: Lease) -> Outcome:
        if not renewal.may_wait(known.state, self.clock()):
            return self._renew(cert_id, known, lease)
        with self.retries.room(cert_id) as admitted:
            if admitted:
                return self._renew(cert_id, known, lease)
        return Skipped(cert_id=cert_id, reason="other certificates that have failed are tried first", queued=True)

    def _renew(self, cert_id: CertId, known: Known, lease: Lease) -> Outcome:
        if known.leftovers:
            self.sweep(self.store.leftovers(cert_id))
        spec, known = known.spec, replace(known, state=self._relevant(known, lease))
        if spec is None or not spec.enabled:
            return Skipped(cert_id=cert_id, reason="removed or disabled")
        verdict = renewal.decide(spec, known.state, self.rules, self.clock())
        if not isinstance(verdict, Due):
            self.store.looked(cert_id, self.rules, verdict)
            return Skipped(cert_id=cert_id, reason=verdict.reason, until=verdict.until)
        attempt = known.state.attempt
        if attempt is not None and attempt.step not in BEFORE_FINALIZE:
            return self._attempt(spec, known, self.store.resume(lease, attempt), lease)
        stopped = self._limits.pause(spec, self._terms(spec), lease) or self._unpublishable(spec, known.state)
        if stopped is not None:
            return stopped
        self._check_newest(spec, known.state, lease)
        if attempt is None:
            return self._begin(spec, known, verdict.reason, lease)
        return self._attempt(spec, known, self.store.resume(lease, attempt), lease)

    def _check_newest(self, spec: CertSpec, state: CertState, lease: Lease) -> None:
        """Nothing is ordered for what an older database says. Raises Outdated."""
        if not self.values.taken(spec, state.issued, self.belonging.id):
            return
        why = "a newer certificate than the recorded one is published"
        if state.attempt is not None:
            self.store.abandon(lease, state.attempt, why=why)
            self.staging.discard([state.attempt.id])
        raise Outdated(why)

    def _begin(self, spec: CertSpec, known: Known, reason: Reason, lease: Lease) -> Outcome:
        key = x509.Key.new(spec.key_type)
        directory = self._terms(spec).directory
        attempt = self.store.begin(lease, spec, reason, directory, key.spki_sha256, newest=known.newest)
        return self._attempt(spec, replace(known, tries=0), attempt, lease, key)

    @property
    def _limits(self) -> Limits:
        return Limits(store=self.store, clock=self.clock)

    def _refusal(self, spec: CertSpec, remembered: str | None) -> str | None:
        """Why this process issues nothing, and touches no attempt of those that may. Remembers a first use."""
        terms = self._terms(spec)
        why = issuers.refusal(terms, remembered or self.memory.remember(terms))
        return None if why is None or self.memory.corrected(terms) else why

    def _terms(self, spec: CertSpec) -> Terms:
        terms = self.rules.terms(spec.issuer)
        assert terms is not None, "looked at before"
        return terms

    def _unknown_issuer(self, spec: CertSpec, state: CertState) -> Failed:
        error = Misconfigured(f"issuer {spec.issuer!r} is not configured here")
        at = retry.next_try(spec.id, state.failures + 1, self.clock())
        self.store.refuse(spec.id, error=error, retry_at=at)
        return self._failed(spec, error, at)

    def _unpublishable(self, spec: CertSpec, state: CertState) -> Failed | None:
        """Nothing is ordered that could not be recorded and published afterwards.

        Raises ForeignValkey and ServerDenied: what a whole server refuses is no failure of this certificate.
        """
        if state.attempt is not None and state.attempt.order_url is not None:
            return None
        self.store.check_rights()
        self.belonging.check()
        try:
            self.publication.rehearse(spec.valkey_key)
        except (ForeignValkey, ServerDenied):
            raise
        except Refused as error:
            at = retry.next_try(spec.id, state.failures + 1, self.clock())
            self.store.refuse(spec.id, error=error, retry_at=at)
            return self._failed(spec, error, at)
        return None

    def _check_clock(self, lease: Lease) -> None:
        """With a wrong clock everything would be due, and refused once the CA has spent a certificate on it."""
        ahead = self.clock() - lease.at
        if abs(ahead) > x509.CLOCK_TOLERANCE:
            off = f"{ahead.total_seconds():+.0f} s"
            message = f"the clock of this host is {off} off PostgreSQL's: nothing is renewed here"
            raise Transient(message)

    def _relevant(self, known: Known, lease: Lease) -> CertState:
        """The state without an open attempt that no longer answers what is wanted, and with `published` looked up."""
        spec, state = known.spec, known.state
        attempt = state.attempt
        if attempt is not None and (why := _needless(attempt, known, self.rules)) is not None:
            self.store.abandon(lease, attempt, why=why)
            self.staging.discard([attempt.id])
            attempt = None
        published = spec is None or state.issued is None or self._is_published(spec, state.issued)
        return replace(state, attempt=attempt, published=published)

    def _is_published(self, spec: CertSpec, issued: Issued) -> bool:
        """Whether a good value for this certificate is live, under the key it was last published at."""
        raw = self.publication.live([issued.valkey_key]).get(issued.valkey_key)
        if raw is None:
            return False
        try:
            value = Value.from_wire(raw)
            value.verify()
        except BundleMismatch:
            log.warning("published value is damaged", extra={"cert": spec.id, "key": issued.valkey_key})
            return False
        return value.sha256 == issued.sha256

    def _attempt(
        self, spec: CertSpec, known: Known, attempt: Attempt, lease: Lease, key: x509.Key | None = None
    ) -> Outcome:
        """`key` is one that is not staged yet, of an attempt that has just been opened for it."""
        try:
            if attempt.starts > retry.MAX_STARTS:
                message = f"the worker died {attempt.starts - 1} times in a row in this attempt"
                raise Transient(message)  # noqa: TRY301 -- recorded by the same handler as any other failure
            return self._issue(spec, attempt, lease, key)
        except LeaseLost:
            raise
        except (Busy, Interrupted, Outage, ServerDenied) as error:
            self.store.postpone(lease, attempt, error=error, retry_at=self.clock())
            raise
        except (Transient, BundleMismatch) as error:
            at = self._next_try(spec, known, attempt, error)
            self.store.postpone(lease, attempt, error=error, retry_at=at)
            return self._failed(spec, error, at)
        except OrderLost as error:
            return self._start_over(spec, known, attempt, lease, error)
        except (Refused, Misconfigured) as error:
            at = retry.next_try(spec.id, known.state.failures + 1, self.clock())
            return self._given_up(spec, attempt, lease, error, at)

    def _next_try(self, spec: CertSpec, known: Known, attempt: Attempt, error: Transient | BundleMismatch) -> datetime:
        """Retry-After only makes the wait longer. An order that is kept is asked about on a ladder of its own."""
        if isinstance(error, AccountLimited):
            self._limits.begin_pause(attempt, error)
        if isinstance(error, RateLimited):
            return retry.limited(known.tries + 1, self.clock(), error.retry_at)
        failures = known.state.failures + 1
        if isinstance(error, OrderKept | BundleMismatch):
            failures = 1 if attempt.step in BEFORE_FINALIZE else known.tries + 1
        ladder = retry.next_try(spec.id, failures, self.clock())
        asked = error.retry_at if isinstance(error, Transient) else None
        return ladder if asked is None else max(ladder, retry.next_try(spec.id, failures, self.clock(), asked))

    def _start_over(self, spec: CertSpec, known: Known, attempt: Attempt, lease: Lease, error: OrderLost) -> Outcome:
        """Another order in place of one that is lost, while few are: what loses one often loses them all."""
        self._check_newest(spec, replace(known.state, attempt=attempt), lease)
        losses = self.store.losses(spec.id, most=MOST_LOST)
        if losses.until is not None:
            often = OrderLost(
                f"{error}; that is once more than is safe in 7 days, so no other order is made before then"
            )
            at = max(losses.until, retry.next_try(spec.id, len(retry.LADDER), self.clock()))
            return self._given_up(spec, attempt, lease, often, at)
        if not lost.room(published=losses.published, begun=losses.begun):
            at = self.clock() + HELD_BACK + retry.APART * retry.fraction(spec.id, "lost")
            kept = OrderKept(f"{error}, as are many others: another order is held back", retry_at=at)
            self.store.postpone(lease, attempt, error=kept, retry_at=at)
            return self._failed(spec, kept, at)
        self.store.lose(lease, attempt, error=error)
        log.warning("order lost, starting over", extra={"cert": spec.id, "attempt": attempt.id, "reason": str(error)})
        return self._begin(spec, replace(known, newest=attempt.id), Reason.UNFINISHED, lease)

    def _given_up(self, spec: CertSpec, attempt: Attempt, lease: Lease, error: Exception, at: datetime) -> Failed:
        self.store.fail(lease, attempt, error=error, retry_at=at)
        self.staging.discard([attempt.id])
        return self._failed(spec, error, at)

    def _failed(self, spec: CertSpec, error: Exception, at: datetime) -> Failed:
        """Also what the log says of it: which certificate, what happened, what is kept, when the next try is."""
        log.error(
            "renewal failed",
            extra={"cert": spec.id, "names": spec.names_key, "error": str(error), "kept": KEPT, "next_try": at},
        )
        return Failed(cert_id=spec.id, error=str(error), retry_at=at)

    def _issue(self, spec: CertSpec, attempt: Attempt, lease: Lease, fresh: x509.Key | None) -> Outcome:
        with nullcontext() if attempt.step in BEFORE_FINALIZE else _keeping():
            key, staged = self._staged(attempt, lease) if fresh is None else self._stage(attempt, fresh)
            issuer = self.issuers.issuer(attempt.issuer)
        leaf, leftovers = self._fit(staged, key, attempt, issuer), False
        if leaf is None:
            staged, leftovers = self._obtained(spec, attempt, lease, key, issuer)
            with _keeping():
                leaf = self._received(staged, key, attempt, lease, issuer)
        with _keeping():
            self.store.hand_over(lease, attempt, leaf, pair_digest(staged, key.pem))
        log.info("certificate issued", extra={"cert": spec.id, "names": spec.names_key, "attempt": attempt.id})
        return Renewed(cert_id=spec.id, attempt_id=attempt.id, leftovers=leftovers)

    def _fit(self, chain: bytes, key: x509.Key, attempt: Attempt, issuer: Issuer) -> Leaf | None:
        """The facts of a chain that an earlier run has staged, unless there is none, or it is not fit for use."""
        try:
            return self._checked(chain, key, attempt, issuer) if chain else None
        except BundleMismatch:
            return None

    def _received(self, chain: bytes, key: x509.Key, attempt: Attempt, lease: Lease, issuer: Issuer) -> Leaf:
        """Keep what the CA has issued, whatever it is: it has cost one of the few that the CA gives for these names."""
        lease.check()
        self.staging.put(attempt.id, Bundle(fullchain=chain, privkey=key.pem))
        return self._checked(chain, key, attempt, issuer)

    def _checked(self, chain: bytes, key: x509.Key, attempt: Attempt, issuer: Issuer) -> Leaf:
        """Raises BundleMismatch, for a person to look at; Refused for a chain that has run out while it was kept."""
        now = self.clock()
        try:
            return x509.check(Bundle(fullchain=chain, privkey=key.pem), attempt.names, now, key, roots=issuer.roots)
        except BundleMismatch as error:
            if attempt.started_at < x509.leaf(chain).not_after <= now:
                raise Refused(f"{error}; it was kept until it ran out") from error
            raise BundleMismatch(f"{error}; {UNFIT}") from error

    def _obtained(
        self, spec: CertSpec, attempt: Attempt, lease: Lease, key: x509.Key, issuer: Issuer
    ) -> tuple[bytes, bool]:
        """The chain, and whether challenge records are left to remove."""
        request = IssueRequest(
            names=attempt.names,
            csr_der=key.csr(attempt.names),
            profile=attempt.profile,
            preferred_chain=spec.preferred_chain,
            order_url=attempt.order_url,
            finalized=attempt.step not in BEFORE_FINALIZE,
            overdue=attempt.started_at < self.clock() - WEEK,
        )
        with closing(self.store.journal(lease, attempt)) as journal:
            prover = Counted(open_prover=lambda: self.prover(attempt.provider, journal), journal=journal)
            if not request.finalized:
                # Credentials that are missing are found before the CA is asked for anything.
                prover.open()
            return issuer.issue(request, journal, prover), journal.leaves_records()

    def _staged(self, attempt: Attempt, lease: Lease) -> tuple[x509.Key, bytes]:
        """What this attempt staged earlier, or a new key, staged before anything is asked of the CA; and its chain.

        A key lost after finalize cannot be had again. Raises OrderLost.
        """
        staged = self.staging.get(attempt.id) if attempt.spki_sha256 is not None else None
        if staged is not None and (key := _key_of(staged, attempt)) is not None:
            return key, staged.fullchain
        if attempt.spki_sha256 is not None and attempt.step not in BEFORE_FINALIZE:
            raise OrderLost(KEY_LOST)
        key, _ = another = self._stage(attempt, x509.Key.new(attempt.key_type))
        self.store.key_staged(lease, attempt, key.spki_sha256)
        return another

    def _stage(self, attempt: Attempt, key: x509.Key) -> tuple[x509.Key, bytes]:
        self.staging.put(attempt.id, Bundle(fullchain=b"", privkey=key.pem))
        return key, b""


@contextmanager
def _keeping() -> Iterator[None]:
    """Once a certificate may have been issued, nothing that is wrong on our side ends its order."""
    try:
        yield
    except (BundleMismatch, OrderLost, ServerDenied):
        raise
    except (Refused, Misconfigured) as error:
        raise OrderKept(f"{error}; the order and its key are kept") from error


def _key_of(staged: Bundle, attempt: Attempt) -> x509.Key | None:
    try:
        key = x509.Key.of(staged.privkey)
    except BundleMismatch:
        return None
    return key if key.spki_sha256 == attempt.spki_sha256 else None


def _needless(attempt: Attempt, known: Known, rules: Rules) -> str | None:
    """Why an open attempt is given up, if it is."""
    spec = known.spec
    if spec is None or not spec.enabled or not _answers(attempt, spec, rules):
        return "what is wanted has changed"
    enough = 1 if known.refused else len(retry.LADDER)
    if attempt.step is Step.FINALIZING and known.tries >= enough and _asked_since(attempt, spec):
        return "another certificate was asked for"
    return None


def _asked_since(attempt: Attempt, spec: CertSpec) -> bool:
    return spec.requested_at is not None and spec.requested_at >= attempt.started_at


def _answers(attempt: Attempt, spec: CertSpec, rules: Rules) -> bool:
    """Whether what this attempt asks for is still what is wanted; how names are proved, only until they are."""
    if attempt.provider != spec.provider and attempt.step in BEFORE_FINALIZE:
        return False
    asked = (sorted(attempt.names), attempt.issuer, attempt.directory, attempt.key_type, attempt.profile)
    terms = rules.terms(spec.issuer)
    directory = attempt.directory if terms is None else terms.directory
    return asked == (sorted(spec.names), spec.issuer, directory, spec.key_type, spec.profile)
