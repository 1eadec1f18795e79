"""Publish the same bytes under other metadata: nothing is ordered for a changed path or key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from knit.core.events import KEPT, Kind, Severity, Told
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.publication import above, generation_of, readable
from knit.core.value import published_as
from knit.errors import ForeignValkey, Refused
from knit.ports.events import Listener
from knit.ports.leases import Lease
from knit.ports.passes import Passes
from knit.ports.process import Clock
from knit.ports.publication import Holder, NewValue, Publication, Stored

Pair = tuple[CertSpec, Issued]
"""What is wanted of a certificate, and what is recorded of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The certificates that were published otherwise, and those that could not be."""

    done: tuple[CertId, ...] = ()
    failed: tuple[CertId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """One value to write, what to record then in place of what, and whether it is written already."""

    before: Issued
    after: Issued
    value: NewValue
    written: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The flow with its ports. `installation` is our id.

    A value never takes the place of another certificate's only copy. So of those that take over each other's keys one
    goes after the other; where none can go first, all go at once.
    """

    installation: str
    store: Passes
    publication: Publication
    clock: Clock
    tell: Listener

    def run(self, found: Sequence[Pair], lease: Lease) -> Moved:
        """Raises ForeignValkey, LeaseLost, Unreachable; what concerns one certificate is shown there."""
        held = dict(self.store.occupied([spec.valkey_key for spec, _ in found]))
        report, waiting = Moved(), list(found)
        while waiting:
            ready = [pair for pair in waiting if not _holder(pair[0], held)]
            if not ready:
                break
            waiting = [pair for pair in waiting if _holder(pair[0], held)]
            report = self._each(report, ready, held, lease)
        return self._together(report, waiting, held, lease) if waiting else report

    def _each(self, report: Moved, ready: Sequence[Pair], held: dict[str, Holder], lease: Lease) -> Moved:
        for spec, issued in ready:
            try:
                moved = self._one(spec, issued, lease)
            except ForeignValkey:
                raise
            except Refused as error:
                report = self._complain(report, [spec], error)
                continue
            if moved:
                report = replace(report, done=(*report.done, spec.id))
            if held.get(issued.valkey_key, Holder(spec.id, "")).cert_id == spec.id:
                # Moved away, or its value was not there to be lost.
                held.pop(issued.valkey_key, None)
        return report

    def _one(self, spec: CertSpec, issued: Issued, lease: Lease) -> bool:
        """False when what is live is not what was recorded: its dates are others than those known here."""
        plan = self._plan(spec, issued)
        if plan is None:
            return False
        if not plan.written:
            lease.check()
            (other,) = self.publication.publish([plan.value])
            if other is not None:
                return False
        return self._record(spec, plan)

    def _together(self, report: Moved, waiting: Sequence[Pair], held: Mapping[str, Holder], lease: Lease) -> Moved:
        """Move those that have each other's keys in one transaction; the others wait for what is in their way."""
        ring = _ring(waiting, held)
        for spec, _ in waiting:
            if spec.id not in ring and (holder := _holder(spec, held)):
                report = self._complain(report, [spec], Refused(in_the_way(spec.valkey_key, holder)))
        pairs = [pair for pair in waiting if pair[0].id in ring]
        plans = [(spec, plan) for spec, issued in pairs if (plan := self._plan(spec, issued)) is not None]
        if not plans or len(plans) < len(pairs):
            return report
        lease.check()
        try:
            exchanged = self.publication.exchange([plan.value for _, plan in plans])
        except ForeignValkey:
            raise
        except Refused as error:
            return self._complain(report, [spec for spec, _ in plans], error)
        done = tuple(spec.id for spec, plan in plans if exchanged and self._record(spec, plan))
        return replace(report, done=(*report.done, *done))

    def _plan(self, spec: CertSpec, issued: Issued) -> _Plan | None:
        """The plan of a move; None when what is live is not what was recorded."""
        stored = self.publication.look([issued.valkey_key, spec.valkey_key])
        old, there = readable(stored[issued.valkey_key].raw), stored[spec.valkey_key]
        moved = replace(issued, valkey_key=spec.valkey_key, cert_path=spec.cert_path, key_path=spec.key_path)
        if old is None or old.sha256 != issued.sha256:
            return self._written(issued, moved, there)
        if self._is_later(there, issued):
            return None
        highest = max(old.generation_by(self.clock()) or 0, issued.generation, generation_of(there.token))
        moved = replace(moved, generation=above(highest, self.clock()))
        wire = published_as(old.bundle, moved, self.installation).to_wire()
        return _Plan(before=issued, after=moved, value=(spec.valkey_key, wire, there.token))

    def _written(self, issued: Issued, moved: Issued, there: Stored) -> _Plan | None:
        """A process that died had written it, and something else where it was, before it could record that."""
        value = readable(there.raw)
        if value is None or value.sha256 != issued.sha256 or issued.valkey_key == moved.valkey_key:
            return None
        after = replace(moved, generation=value.generation or 0, cert_path=value.cert_path, key_path=value.key_path)
        return _Plan(before=issued, after=after, value=(moved.valkey_key, there.raw, there.token), written=True)

    def _is_later(self, there: Stored, issued: Issued) -> bool:
        """Whether a newer bundle of this very certificate has got to that key meanwhile."""
        value = readable(there.raw)
        if value is None or value.mark is None or value.sha256 == issued.sha256:
            return False
        ours = (value.mark.installation, value.mark.cert_id) == (self.installation, issued.cert_id)
        return ours and value.mark.generation > issued.generation

    def _record(self, spec: CertSpec, plan: _Plan) -> bool:
        if not self.store.record_refreshed(plan.after, plan.before):
            return False
        self.tell(Told(kind=Kind.VALUE_MOVED, cert_id=spec.id, detail={"key": plan.after.valkey_key}))
        return True

    def _complain(self, report: Moved, specs: Sequence[CertSpec], error: Refused) -> Moved:
        ids = [spec.id for spec in specs]
        self.store.complain(ids, error)
        for cert_id in ids:
            detail = {"error": str(error), "kept": KEPT}
            self.tell(Told(kind=Kind.PUBLISH_FAILED, severity=Severity.ERROR, cert_id=cert_id, detail=detail))
        return replace(report, failed=(*report.failed, *ids))


def in_the_way(key: str, holder: Holder) -> str:
    """Why a value is not published at this key yet."""
    return (
        f"valkey_key {key} still holds what certificate {holder.cert_id} has published, and nothing else has that: "
        f"this one follows once that one is published elsewhere"
    )


def _holder(spec: CertSpec, held: Mapping[str, Holder]) -> Holder | None:
    """The other certificate whose value lies where this one's is to go."""
    holder = held.get(spec.valkey_key)
    return None if holder is None or holder.cert_id == spec.id else holder


def _ring(waiting: Sequence[Pair], held: Mapping[str, Holder]) -> frozenset[CertId]:
    """The certificates that are only in each other's way."""
    ring = {spec.id for spec, _ in waiting}
    while outside := {spec.id for spec, _ in waiting if spec.id in ring and held[spec.valkey_key].cert_id not in ring}:
        ring -= outside
    return frozenset(ring)
