"""A CA's limits count for the account: one certificate that is told to wait tells all others."""

from __future__ import annotations

from dataclasses import dataclass

from knit.core import retry
from knit.core.budget import taught
from knit.core.events import Kind, Severity, Told
from knit.core.model.attempt import Attempt, Failed
from knit.core.model.certificate import CertSpec
from knit.core.model.decision import NOTHING
from knit.core.model.issuer import Terms
from knit.errors import AccountLimited, RateLimited
from knit.flows.room import Room
from knit.ports.events import Listener
from knit.ports.journal import Attempts
from knit.ports.leases import Lease
from knit.ports.process import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class CaPauses:
    """The pauses that CAs have asked for, as PostgreSQL remembers them for all workers."""

    store: Attempts
    room: Room
    clock: Clock
    tell: Listener

    def pause(self, spec: CertSpec, terms: Terms, lease: Lease) -> Failed | None:
        """None when this certificate may ask its CA for something now; else until when it waits, which is recorded.

        When a pause is over, one certificate tries whether the CA says the same again: the others wait for that.
        """
        pause = self.store.admit(spec.id, terms)
        if pause is None:
            return None
        at = pause.until + retry.APART * retry.fraction(spec.id, "pause")
        why = RateLimited(f"waiting with all certificates of this CA, which is asked too often: {pause.said}")
        self.store.put_off(lease, spec, terms, why=why, retry_at=at)
        detail = {"names": spec.names_key, "error": str(why), "next_try": at}
        self.tell(Told(kind=Kind.RENEWAL_POSTPONED, severity=Severity.NOTICE, cert_id=spec.id, detail=detail))
        return Failed(cert_id=spec.id, error=str(why), retry_at=at)

    def begin_pause(self, attempt: Attempt, terms: Terms, error: AccountLimited) -> None:
        """The CA has told one certificate to wait. A limit of its names alone stops the others for the floor only.

        The buckets that it speaks of have nothing before it says so, whatever was known here.
        """
        if error.retry_at is not None:
            now = self.clock()
            until = min(error.retry_at, now + retry.LONGEST)
            costs = self.room.costs(attempt.names, NOTHING, terms, now)
            for cost in taught(costs, str(error), names_only=error.names_only):
                self.room.store.exhausted(cost.key, cost.rate, until)
        refusals = self.store.count_refusal(attempt, error)
        until = retry.limited(refusals, self.clock(), None if error.names_only else error.retry_at)
        self.store.pause(attempt, until)
        detail = {"issuer": attempt.issuer, "directory": attempt.directory, "until": until, "refusals": refusals}
        self.tell(Told(kind=Kind.CA_PAUSED, severity=Severity.WARNING, detail=detail))
