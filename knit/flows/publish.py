"""Bring the published set in line with what is wanted: new bundles, moved paths, removals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from knit.core import publication, retry, x509
from knit.core.model import Attempt, Bundle, CertId, CertSpec, Issued, Leaf, Ready
from knit.core.value import Parcel, Value, published_as
from knit.errors import BundleMismatch, Busy, Refused, UnsafePublish
from knit.ports import Clock, Leases, NewValue, PassStore, Publication, Staging

log = logging.getLogger(__name__)

TOGETHER = 100
"""Bundles in one transaction: some 400 kB, a few milliseconds of Valkey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a publication did. `refused` is the guard's sentence when it stopped a prune."""

    published: tuple[CertId, ...] = ()
    refreshed: tuple[CertId, ...] = ()
    pruned: int = 0
    failed: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """The flow with its ports. Running it twice, or two at once, comes to the same."""

    store: PassStore
    leases: Leases
    staging: Staging
    publication: Publication
    clock: Clock

    def waiting(self, *, begun: bool = False) -> Report:
        """Publish what waits; with `begun` also what another run began to publish just now and has not ended."""
        report, ready = Report(), self.store.ready(begun=begun)
        for start in range(0, len(ready), TOGETHER):
            report = self._bundles(report, ready[start : start + TOGETHER])
        return report

    def everything(self) -> Report:
        """Publish what waits, refresh what moved, prune what is removed.

        Raises Busy when another process is at it: the caller tries again a little later.
        """
        with self.leases.hold("publish") as lease:
            if lease is None:
                message = "another process is publishing"
                raise Busy(message)
            report = self.waiting(begun=True)
            report = self._refresh(report, self.store.moved())
            self._tidy()
            return self._prune(report)

    def _tidy(self) -> None:
        """Forget what was left in staging by workers that died just before they would have done it themselves.

        Only what this database knows to be over: another one's attempts may still need theirs.
        """
        if not self.store.tidying_due():
            return
        over = self.store.ended(self.staging.waiting())
        self.staging.discard(over)
        if over:
            log.info("staging tidied", extra={"bundles": len(over)})

    def _bundles(self, report: Report, waiting: Sequence[Ready]) -> Report:
        """A bundle that is not, or no longer, there is seen to by the next renewal of its certificate."""
        bundles = self.staging.bundles([ready.attempt.id for ready in waiting])
        parcels, failed = [], 0
        for ready in waiting:
            try:
                if (bundle := bundles.get(ready.attempt.id)) and (parcel := self._packed(ready, bundle)):
                    parcels.append(parcel)
            except BundleMismatch as error:
                failed += 1
                self._give_up(ready, error)
        return self._sent(replace(report, failed=report.failed + failed), parcels)

    def _packed(self, ready: Ready, bundle: Bundle) -> Parcel | None:
        """None when it is no longer wanted. Raises BundleMismatch."""
        attempt, spec = ready.attempt, ready.spec
        if spec is None or not spec.enabled or sorted(spec.names) != sorted(attempt.names):
            self.store.close(attempt, why="what is wanted has changed")
            self.staging.discard([attempt.id])
            return None
        leaf = self._looked_at(ready, bundle)
        generation = self._above(0 if ready.issued is None else ready.issued.generation)
        parcel = Parcel.of(ready, bundle, _facts(spec, attempt, leaf, generation))
        if ready.sha256 not in (None, parcel.issued.sha256):
            message = "what waits in staging is not what was handed over"
            raise BundleMismatch(message)
        return parcel

    def _looked_at(self, ready: Ready, bundle: Bundle) -> Leaf:
        """What was handed over was checked, and its hash tells whether this is it: but an older knit kept neither."""
        if ready.leaf is None or ready.leaf.not_after <= self.clock():
            return x509.check(bundle, names=ready.attempt.names, now=self.clock())
        return ready.leaf

    def _give_up(self, ready: Ready, error: BundleMismatch) -> None:
        """The bundle is of no use. It has cost one of the CA's few certificates, so the next try is not soon."""
        attempt = ready.attempt
        at = retry.next_try(attempt.cert_id, len(retry.LADDER), self.clock())
        self.store.give_up(attempt, error=error, retry_at=at)
        self.staging.discard([attempt.id])
        extra = {"cert": attempt.cert_id, "error": str(error), "next_try": at}
        log.error("bundle not published", extra=extra)

    def _sent(self, report: Report, parcels: Sequence[Parcel]) -> Report:
        """All at once; when that is refused, one by one, so that the others need not wait for the one that is."""
        if not parcels:
            return report
        try:
            sent = self._set(parcels)
        except Refused as error:
            if len(parcels) == 1:
                self._complain(parcels[0].issued.cert_id, error)
                return replace(report, failed=report.failed + 1)
            return reduce(self._sent, ([parcel] for parcel in parcels), report)
        self._record(sent)
        return replace(report, published=(*report.published, *(parcel.issued.cert_id for parcel in sent)))

    def _complain(self, cert_id: CertId, error: Refused) -> None:
        """Its bundle keeps: the next pass tries again."""
        self.store.complain(cert_id, error)
        log.error("bundle not published", extra={"cert": cert_id, "error": str(error)})

    def _set(self, parcels: Sequence[Parcel], *, again: bool = True) -> Sequence[Parcel]:
        """Publish under the next generation; when Valkey is ahead of Postgres (an older database), above that."""
        ours = self.store.publishing(parcels)
        found = self.publication.publish([_new_value(parcel) for parcel in ours])
        done, behind = [], []
        for parcel, newer in zip(ours, found, strict=True):
            if newer is None:
                done.append(parcel)
            elif self._is_live(parcel.issued.valkey_key, parcel.issued.sha256):
                done.append(parcel.under(newer))
            elif again:
                behind.append(parcel.under(newer + 1))
            else:
                message = "Valkey's generation of this certificate keeps growing: is another knit publishing it?"
                raise Refused(message)
        return [*done, *self._set(behind, again=False)] if behind else done

    def _record(self, parcels: Sequence[Parcel]) -> None:
        self.store.record_published(parcels)
        self.staging.discard([parcel.ready.attempt.id for parcel in parcels])
        for parcel in parcels:
            issued = parcel.issued
            extra = {
                "cert": issued.cert_id,
                "key": issued.valkey_key,
                "generation": issued.generation,
                "not_after": issued.not_after,
            }
            log.info("certificate published", extra=extra)

    def _above(self, generation: int) -> int:
        """A greater one, never below the clock's seconds.

        When Postgres and Valkey are both lost, what nodes remember must not be greater than what comes after.
        """
        return max(generation + 1, int(self.clock().timestamp()))

    def _is_live(self, key: str, sha256: str) -> bool:
        """Whether an earlier run of this very publication got through."""
        raw = self.publication.live([key]).get(key)
        try:
            return raw is not None and Value.from_wire(raw).sha256 == sha256
        except BundleMismatch:
            return False

    def _refresh(self, report: Report, found: Sequence[tuple[CertSpec, Issued]]) -> Report:
        """Publish the same bytes under new metadata; nothing is ordered for a changed path or key."""
        refreshed, failed = [], 0
        for spec, issued in found:
            try:
                if self._move(spec, issued):
                    refreshed.append(spec.id)
            except Refused as error:
                failed += 1
                self.store.complain(spec.id, error)
                log.error("metadata not refreshed", extra={"cert": spec.id, "error": str(error)})  # noqa: TRY400 -- the error's text is the whole story
        return replace(report, refreshed=(*report.refreshed, *refreshed), failed=report.failed + failed)

    def _move(self, spec: CertSpec, issued: Issued) -> bool:
        raw = self.publication.live([issued.valkey_key]).get(issued.valkey_key)
        if raw is None:
            return False
        try:
            old = Value.from_wire(raw)
            old.verify()
        except BundleMismatch:
            return False
        if old.sha256 != issued.sha256:
            # Not what was recorded (an older Valkey came back): its dates are others than those known here.
            return False
        moved = replace(
            issued,
            generation=self._above(max(old.generation or 0, issued.generation)),
            valkey_key=spec.valkey_key,
            cert_path=spec.cert_path,
            key_path=spec.key_path,
        )
        value = published_as(old.bundle, moved).to_wire()
        (newer,) = self.publication.publish([(spec.valkey_key, value, moved.generation)])
        if newer is not None:
            return False
        self.store.record_refreshed(moved)
        log.info("metadata refreshed", extra={"cert": spec.id, "key": spec.valkey_key})
        return True

    def _prune(self, report: Report) -> Report:
        """Removed and disabled ones at once; what nobody can explain only within the guard.

        And the reverse: values that are there, but that the index has lost, are published again.
        """
        index, _ = self.publication.survey()
        tombstones, wanted = self.store.tombstones(), self.store.wanted_keys()
        if unseen := wanted - index:
            report = self._refresh(report, self.store.published_at(unseen))
        plan = publication.plan_prune(index=index, wanted=wanted, tombstones=tombstones)
        self.publication.prune(sorted(plan.explained))
        self.store.clear_tombstones(tombstones)
        try:
            publication.guard(plan, live=len(index))
        except UnsafePublish as error:
            log.error("prune refused", extra={"error": str(error)})  # noqa: TRY400 -- the error's text is the whole story
            return replace(report, pruned=len(plan.explained), refused=str(error))
        self.publication.prune(sorted(plan.unexplained))
        pruned = plan.explained | plan.unexplained
        if pruned:
            log.info("pruned", extra={"keys": len(pruned), "unexplained": len(plan.unexplained)})
        return replace(report, pruned=len(pruned))


def _facts(spec: CertSpec, attempt: Attempt, leaf: Leaf, generation: int) -> Issued:
    return Issued(
        cert_id=spec.id,
        names_key=",".join(sorted(attempt.names)),
        issuer=attempt.issuer,
        directory=attempt.directory,
        key_type=attempt.key_type,
        profile=attempt.profile,
        serial=leaf.serial,
        ari_id=leaf.ari_id,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        issued_at=attempt.started_at,
        sha256="",
        generation=generation,
        valkey_key=spec.valkey_key,
        cert_path=spec.cert_path,
        key_path=spec.key_path,
    )


def _new_value(parcel: Parcel) -> NewValue:
    return parcel.issued.valkey_key, parcel.wire, parcel.issued.generation
