"""One certificate, from "is it due" to a checked bundle in staging."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from knit.core import imported, issuers, renewal, x509
from knit.core.model.attempt import BEFORE_FINALIZE, Attempt, Outcome, Skipped
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.model.decision import Due, Known, Reason
from knit.core.model.issuer import Terms
from knit.core.outdated import why_outdated
from knit.core.value import Value
from knit.errors import (
    BundleMismatch,
    ForeignValkey,
    Misconfigured,
    NoSuchCertificate,
    NotPermitted,
    Refused,
    ServerDenied,
    Transient,
)
from knit.flows.renewing import Renewing, RenewPorts, Superseded
from knit.ports.leases import Lease

log = logging.getLogger(__name__)

ANOTHER = "another worker is on it"
GONE = "removed or disabled"
NOT_ORDERED = "it is imported: nothing is ordered for it"
ENDED = "the certificate is imported, and nobody goes on with this"
LATER = "other certificates that have failed are tried first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew(RenewPorts):
    """The flow with its ports."""

    def run(self, cert_id: CertId) -> Outcome:
        """Renew this certificate if it is due. Failures are recorded, told and returned, not raised.

        Raises Interrupted when the process is stopping, LeaseLost when another worker took over, Busy when another
        certificate has what this one needs, and Outage or ServerDenied when PostgreSQL or the certificate Valkey is
        away or shuts us out; in each case the journal says where to go on, and no failure is counted. Raises Transient,
        with nothing done, when the clock here is wrong.
        """
        try:
            return self._look(cert_id)
        except NoSuchCertificate:
            return Skipped(cert_id=cert_id, reason=GONE)
        except NotPermitted as error:
            self.store.denied(cert_id, error)
            raise

    def _look(self, cert_id: CertId) -> Outcome:
        try:
            return self._hold_and_look(cert_id)
        except Superseded:
            return self._hold_and_look(cert_id)

    def _hold_and_look(self, cert_id: CertId) -> Outcome:
        with self.holding.hold(cert_id) as held:
            if held is None:
                return Skipped(cert_id=cert_id, reason=ANOTHER, busy=True)
            lease, known = held
            self._check_clock(lease)
            return Looked(ports=self, cert_id=cert_id, known=known, lease=lease).outcome()

    def _check_clock(self, lease: Lease) -> None:
        """With a wrong clock everything would be due, and refused once the CA has spent a certificate on it."""
        ahead = self.clock() - lease.at
        if abs(ahead) > x509.CLOCK_TOLERANCE:
            off = f"{ahead.total_seconds():+.0f} s"
            message = f"the clock of this host is {off} off PostgreSQL's: nothing is renewed here"
            raise Transient(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One certificate while its lease is held, with what PostgreSQL knows of it."""

    ports: RenewPorts
    cert_id: CertId
    known: Known
    lease: Lease

    def outcome(self) -> Outcome:
        """Do what is to be done. A process that may have nothing issued touches no attempt of those that may."""
        spec = self.known.spec
        if spec is not None and spec.imported:
            return self._leave_to_a_person(spec)
        if spec is not None:
            wanted = self.ports.rules.terms_of(spec)
            if not wanted:
                error = Misconfigured(f"issuer {spec.issuer!r} is not configured here")
                return self._renewing(spec).refuse(error)
            if why := self._refusal(wanted[0]):
                return Skipped(cert_id=self.cert_id, reason=why, busy=True)
        return self._in_turn()

    def _leave_to_a_person(self, spec: CertSpec) -> Outcome:
        """Nothing is ordered for an imported certificate: what is left of orders before, or of an import, is ended."""
        if self.known.leftovers:
            self.ports.sweep(self.ports.holding.leftovers(self.cert_id))
        attempt = self.known.state.attempt
        if attempt is not None and (not spec.enabled or imported.is_stray(attempt, self.ports.clock())):
            self.ports.abandon(self.lease, attempt, ENDED)
        return Skipped(cert_id=self.cert_id, reason=NOT_ORDERED)

    def _refusal(self, terms: Terms) -> str | None:
        """Remembers an issuer that is used for the first time."""
        memory, known = self.ports.memory, self.known.issuers.get(terms.name)
        why = issuers.refusal(terms, memory.remember(terms) if issuers.is_to_be_recorded(terms, known) else known)
        return None if why is None or memory.correct(terms) else why

    def _in_turn(self) -> Outcome:
        if not renewal.may_wait(self.known.state, self.ports.clock()):
            return self._sweep_and_decide()
        with self.ports.retries.room(self.cert_id) as admitted:
            if admitted:
                return self._sweep_and_decide()
        return Skipped(cert_id=self.cert_id, reason=LATER, queued=True)

    def _sweep_and_decide(self) -> Outcome:
        if self.known.leftovers:
            self.ports.sweep(self.ports.holding.leftovers(self.cert_id))
        return self._abandon_if_outdated().if_due()

    def _abandon_if_outdated(self) -> Looked:
        """End an open attempt that no longer answers what is wanted, look `published` up; gives what is then known."""
        spec, state = self.known.spec, self.known.state
        attempt = state.attempt
        if attempt is not None and (why := why_outdated(attempt, self.known, self.ports.rules)) is not None:
            self.ports.abandon(self.lease, attempt, why)
            attempt = None
        published = spec is None or state.issued is None or self._is_published(spec, state.issued)
        return replace(self, known=replace(self.known, state=replace(state, attempt=attempt, published=published)))

    def _is_published(self, spec: CertSpec, issued: Issued) -> bool:
        """Whether a good value for this certificate is live, under the key it was last published at."""
        raw = self.ports.publication.live([issued.valkey_key]).get(issued.valkey_key)
        if raw is None:
            return False
        try:
            value = Value.from_wire(raw)
            value.verify()
        except BundleMismatch:
            log.warning("published value is damaged", extra={"cert": spec.id, "key": issued.valkey_key})
            return False
        return value.sha256 == issued.sha256

    def if_due(self) -> Outcome:
        """Begin or go on, or say why not."""
        spec = self.known.spec
        if spec is None or not spec.enabled:
            return Skipped(cert_id=self.cert_id, reason=GONE)
        verdict = renewal.decide(spec, self.known.state, self.ports.rules, self.ports.clock())
        if not isinstance(verdict, Due):
            self.ports.holding.looked(self.cert_id, self.ports.rules, verdict)
            return Skipped(cert_id=self.cert_id, reason=verdict.reason, until=verdict.until)
        renewing, attempt = self._renewing(spec), self.known.state.attempt
        if attempt is not None and attempt.step not in BEFORE_FINALIZE and not renewing.may_leave(attempt):
            terms = self.ports.rules.at(attempt.directory, attempt.issuer)
            return self._in_place(terms, partial(renewing.resume, attempt))
        return self._order(renewing, verdict.reason)

    def _in_place(self, terms: Terms | None, work: Callable[[], Outcome]) -> Outcome:
        """While few enough of the issuer's orders are in flight, over all workers."""
        if terms is None or terms.concurrency is None:
            return work()
        with self.ports.places.place(terms.name, terms.concurrency) as place:
            if place is not None:
                return work()
        reason = f"issuer {terms.name} has {terms.concurrency} orders in flight, which is as many as it is to have"
        return Skipped(cert_id=self.cert_id, reason=reason, full=True)

    def _order(self, renewing: Renewing, reason: Reason) -> Outcome:
        """At the issuer whose turn it is: what another's open attempt has ordered cannot become a certificate."""
        try:
            terms = renewing.choose()
        except Refused as error:
            return renewing.refuse(error)
        if why := self._refusal(terms):
            return Skipped(cert_id=self.cert_id, reason=why, busy=True)
        return self._in_place(terms, partial(self._order_at, terms, renewing, reason))

    def _order_at(self, terms: Terms, renewing: Renewing, reason: Reason) -> Outcome:
        spec, attempt = renewing.spec, self.known.state.attempt
        goes_on = attempt is not None and attempt.directory == terms.directory
        if attempt is not None and goes_on and attempt.step not in BEFORE_FINALIZE:
            return renewing.resume(attempt)
        # First: one of those that wait for the end of a CA's pause tries whether it is over. It must have room.
        no_room = None if attempt is not None and goes_on and attempt.admitted else renewing.without_room(terms)
        stopped = (
            no_room
            or (self.ports.pauses.pause(spec, terms, self.lease) if self.known.pauses else None)
            or self._unpublishable(renewing, attempt if goes_on else None)
        )
        if stopped is not None:
            return stopped
        renewing.check_newest(attempt)
        if attempt is not None and goes_on:
            return renewing.resume(attempt)
        if attempt is not None:
            why = f"issuer {attempt.issuer} cannot be used now: {terms.name} is asked instead"
            self.ports.leave(self.lease, attempt, why)
        return renewing.begin(reason, terms)

    def _unpublishable(self, renewing: Renewing, attempt: Attempt | None) -> Outcome | None:
        """Nothing is ordered that could not be recorded and published afterwards.

        Raises ForeignValkey and ServerDenied: what a whole server refuses is no failure of this certificate.
        """
        if attempt is not None and attempt.order_url is not None:
            return None
        self.ports.store.check_rights()
        try:
            self._rehearse(renewing.spec.valkey_key)
        except (ForeignValkey, ServerDenied):
            raise
        except Refused as error:
            return renewing.refuse(error)
        return None

    def _rehearse(self, key: str) -> None:
        """The rehearsal itself tells whether the Valkey carries our id; one that carries none may be claimed."""
        try:
            self.ports.publication.rehearse(key)
        except ForeignValkey:
            self.ports.belonging.check()
            self.ports.publication.rehearse(key)

    def _renewing(self, spec: CertSpec) -> Renewing:
        return Renewing(ports=self.ports, spec=spec, known=self.known, lease=self.lease)
