"""Bring the published set in line with what is wanted: new bundles, moved paths, removals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from knit.core import retry
from knit.core.digest import pair_digest
from knit.core.events import KEPT, Kind, Severity, Told
from knit.core.imported import HOW, IMPORTED
from knit.core.issued import recorded
from knit.core.model.attempt import Attempt, Ready
from knit.core.model.certificate import Bundle, CertSpec, Issued, Leaf
from knit.core.model.results import Publishing
from knit.core.publication import above, generation_of, readable
from knit.core.value import Parcel
from knit.errors import BundleMismatch, Busy, ForeignValkey, Refused, RowHeld
from knit.flows.belonging import Belonging
from knit.flows.move import Move, in_the_way
from knit.flows.prune import Prune
from knit.ports.events import Listener
from knit.ports.leases import Lease, Leases
from knit.ports.passes import Passes
from knit.ports.process import Clock
from knit.ports.publication import NewValue, Publication, Stored
from knit.ports.staging import Staging

TOGETHER = 100
"""Bundles in one transaction: some 400 kB, a few milliseconds of Valkey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """The flow with its ports. Running it twice, or two at once, comes to the same."""

    store: Passes
    leases: Leases
    staging: Staging
    publication: Publication
    belonging: Belonging
    move: Move
    prune: Prune
    clock: Clock
    tell: Listener

    def waiting(self, *, begun: bool = False) -> Publishing:
        """Publish what waits; with `begun` also what another run began to publish just now and has not ended."""
        report, ready = Publishing(), self.store.ready(begun=begun)
        if ready:
            self.belonging.check()
        for start in range(0, len(ready), TOGETHER):
            report = self._publish_bundles(report, ready[start : start + TOGETHER])
        return report

    def everything(self) -> Publishing:
        """Publish what waits, refresh what moved, prune what is removed.

        Raises Busy when another process is at it: the caller tries again a little later. Raises ForeignValkey.
        """
        with self.leases.hold("publish") as lease:
            if lease is None:
                message = "another process is publishing"
                raise Busy(message)
            self.belonging.check()
            report = self.waiting(begun=True)
            report = self._refresh(report, self.store.moved(), lease)
            self._tidy()
            return self._prune(report, lease)

    def _tidy(self) -> None:
        """Forget what was left in staging by workers that died just before they would have done it themselves.

        Only what this database knows to be over: another one's attempts may still need theirs.
        """
        if not self.store.tidying_due():
            return
        self.staging.discard(self.store.ended())

    def _publish_bundles(self, report: Publishing, waiting: Sequence[Ready]) -> Publishing:
        """Publish these; one that is not what was handed over is left to the next renewal of its certificate."""
        bundles = self.staging.bundles([ready.attempt.id for ready in waiting])
        parcels, failed = [], 0
        for ready in waiting:
            try:
                if (parcel := self._pack_or_close(ready, bundles.get(ready.attempt.id))) is not None:
                    parcels.append(parcel)
            except BundleMismatch as error:
                failed += 1
                self._not_published(ready, error)
        return self._send(replace(report, failed=report.failed + failed), parcels)

    def _pack_or_close(self, ready: Ready, bundle: Bundle | None) -> Parcel | None:
        """The parcel of an attempt; None when it is no longer wanted. Raises BundleMismatch."""
        attempt, spec = ready.attempt, ready.spec
        if spec is None or not _wants(spec, attempt):
            self.store.close(attempt, why="what is wanted has changed")
            self.staging.discard([attempt.id])
            return None
        if ready.compromised:
            message = "its key was declared compromised"
            raise BundleMismatch(message)
        if bundle is None:
            message = "what waited in staging is gone"
            raise BundleMismatch(message)
        leaf = self._leaf(ready, bundle)
        generation = above(0 if ready.issued is None else ready.issued.generation, self.clock())
        facts = recorded(
            spec,
            attempt,
            leaf,
            issued_at=attempt.started_at,
            sha256=pair_digest(bundle.fullchain, bundle.privkey),
            generation=generation,
            cert_path=spec.cert_path,
            key_path=spec.key_path,
        )
        replaces = _token(ready.issued, spec.valkey_key)
        parcel = Parcel.of(ready, bundle, facts, installation=self.belonging.id, replaces=replaces)
        if ready.sha256 not in (None, parcel.issued.sha256):
            message = "what waits in staging is not what was handed over"
            raise BundleMismatch(message)
        return parcel

    def _leaf(self, ready: Ready, bundle: Bundle) -> Leaf:
        """The facts of the leaf: as checked when it was handed over, or looked up where an older knit kept none."""
        if ready.leaf is None or ready.leaf.not_after <= self.clock():
            from knit.core import x509  # Few passes look into a certificate.

            return x509.check(bundle, names=ready.attempt.names, now=self.clock())
        return ready.leaf

    def _not_published(self, ready: Ready, error: BundleMismatch) -> None:
        """Send the attempt back to its order: it has cost one of the CA's few certificates, and the CA has its chain.

        Only a key that must not be published makes it useless: then it is given up, and the next try is not soon.
        """
        if ready.attempt.issuer == IMPORTED:
            self._not_brought(ready, error)
            return
        attempt, tries = ready.attempt, len(retry.LADDER) if ready.compromised else ready.tries + 1
        at = retry.next_try(attempt.cert_id, tries, self.clock())
        if ready.compromised:
            self.store.give_up(attempt, error=error, retry_at=at)
            self.staging.discard([attempt.id])
        else:
            self.store.send_back(attempt, error=error, retry_at=at)
        kind = Kind.RENEWAL_FAILED if ready.compromised else Kind.PUBLISH_FAILED
        self._tell_failed(kind, ready, error, {"next_try": at})

    def _not_brought(self, ready: Ready, error: BundleMismatch) -> None:
        """There is no order to go back to: a person has it, and has to bring it again."""
        again = BundleMismatch(f"{error}: {HOW} again publishes the certificate")
        self.store.give_up(ready.attempt, error=again, retry_at=None)
        self.staging.discard([ready.attempt.id])
        self._tell_failed(Kind.IMPORT_FAILED, ready, again, {})

    def _send(self, report: Publishing, parcels: Sequence[Parcel]) -> Publishing:
        """Publish all at once; when that is refused, one by one, so that no other waits for the one that is."""
        if not parcels:
            return report
        try:
            sent = self._set(parcels)
        except ForeignValkey:
            raise
        except Refused as error:
            if len(parcels) == 1:
                self._complain(parcels[0].ready, error)
                return replace(report, failed=report.failed + 1)
            return reduce(self._send, ([parcel] for parcel in parcels), report)
        self._record(sent)
        return replace(report, published=(*report.published, *(parcel.issued.cert_id for parcel in sent)))

    def _complain(self, ready: Ready, error: Refused) -> None:
        """Say that a certificate cannot be published. Its bundle keeps: the next pass tries again."""
        self.store.complain([ready.attempt.cert_id], error)
        self._tell_failed(Kind.PUBLISH_FAILED, ready, error, {})

    def _tell_failed(self, kind: Kind, ready: Ready, error: Refused, more: Mapping[str, object]) -> None:
        """Where nothing is published yet, nothing stays."""
        kept = {} if ready.issued is None else {"kept": KEPT}
        cert_id, attempt_id = ready.attempt.cert_id, ready.attempt.id
        detail = {"error": str(error), **kept, **more}
        self.tell(Told(kind=kind, severity=Severity.ERROR, cert_id=cert_id, attempt_id=attempt_id, detail=detail))

    def _set(self, parcels: Sequence[Parcel], *, again: bool = True) -> Sequence[Parcel]:
        """Publish in place of what is recorded; where something else is, look at it, and publish above it.

        The journal is asked before each try, so a bundle that somebody else has published meanwhile is left alone.
        """
        ours = self.store.publishing(parcels)
        found = self.publication.publish([_new_value(parcel) for parcel in ours])
        done = [parcel for parcel, other in zip(ours, found, strict=True) if other is None]
        others = [parcel for parcel, other in zip(ours, found, strict=True) if other is not None]
        if not others:
            return done
        keys = [parcel.issued.valkey_key for parcel in others]
        stored, held = self.publication.look(keys), self.store.occupied(keys)
        behind = []
        for parcel in others:
            key, here = parcel.issued.valkey_key, stored[parcel.issued.valkey_key]
            value, holder = readable(here.raw), held.get(key)
            if value is not None and value.sha256 == parcel.issued.sha256:
                done.append(parcel.found(value))
            elif value is not None and holder is not None and holder.keeps(value.sha256, parcel.issued.cert_id):
                raise Refused(in_the_way(key, holder))
            elif again:
                behind.append(self._over(parcel, here))
            else:
                message = "Valkey's value of this certificate keeps changing: is another knit publishing it?"
                raise Refused(message)
        return [*done, *self._set(behind, again=False)] if behind else done

    def _over(self, parcel: Parcel, here: Stored) -> Parcel:
        return parcel.over(here.token, generation=max(parcel.issued.generation, generation_of(here.token)) + 1)

    def _record_singly(self, parcels: Sequence[Parcel]) -> None:
        """One by one: of many, the one whose row somebody holds is tried again by whoever publishes next."""
        held: RowHeld | None = None
        for parcel in parcels:
            try:
                self._record([parcel])
            except RowHeld as error:
                held = error
        if held is not None:
            raise held

    def _record(self, parcels: Sequence[Parcel]) -> None:
        try:
            self.store.record_published(parcels)
        except RowHeld:
            if len(parcels) == 1:
                raise
            self._record_singly(parcels)
            return
        self.staging.discard([parcel.ready.attempt.id for parcel in parcels])
        for parcel in parcels:
            issued, attempt_id = parcel.issued, parcel.ready.attempt.id
            detail = {"key": issued.valkey_key, "generation": issued.generation, "not_after": issued.not_after}
            published = Kind.CERTIFICATE_PUBLISHED
            self.tell(Told(kind=published, cert_id=issued.cert_id, attempt_id=attempt_id, detail=detail))

    def _refresh(self, report: Publishing, found: Sequence[tuple[CertSpec, Issued]], lease: Lease) -> Publishing:
        moved = self.move.run(found, lease)
        return replace(report, refreshed=(*report.refreshed, *moved.done), failed=report.failed + len(moved.failed))

    def _prune(self, report: Publishing, lease: Lease) -> Publishing:
        """Prune. Values that are there, but that the index has lost, are published again."""
        pruned = self.prune.run(lease)
        if pruned.unseen:
            lost = [(spec, issued) for spec, issued in self.store.recorded(pruned.unseen) if _in_place(spec, issued)]
            report = self._refresh(report, lost, lease)
        return replace(report, pruned=pruned.count, refused=pruned.refused)


def _wants(spec: CertSpec, attempt: Attempt) -> bool:
    """Whether what was issued, or imported, is still what is wanted."""
    same = sorted(spec.names) == sorted(attempt.names)
    return spec.enabled and same and spec.imported == (attempt.issuer == IMPORTED)


def _new_value(parcel: Parcel) -> NewValue:
    return parcel.issued.valkey_key, parcel.wire, parcel.replaces


def _token(issued: Issued | None, key: str) -> str:
    """What is expected at the key, going by what is recorded."""
    return "" if issued is None or issued.valkey_key != key else str(issued.generation)


def _in_place(spec: CertSpec, issued: Issued) -> bool:
    return spec.valkey_key == issued.valkey_key
