"""What nodes have reported is recorded, as far as it has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

from knit.core import report
from knit.core.model.deployed import Deployed
from knit.core.model.node import Reported
from knit.core.report import LAPSE, Head
from knit.errors import KnitError, Refused
from knit.ports.process import Clock
from knit.ports.served import NodeRecords, Reports

NONE = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """How many nodes have a report, how many of these were new, and how many certificates were recorded of them."""

    nodes: int
    changed: int
    certificates: int


class Collect:
    """Reads all heads, and of those that have changed the parts that have.

    Any number of processes may do so at a time: what is recorded is read before the reports, and a report is recorded
    only where that is still so. A report that nobody can read is noted beside what the node said before.
    """

    def __init__(self, *, reports: Callable[[], Reports], store: NodeRecords, clock: Clock) -> None:
        """`reports` opens them: several runs may go on in one process."""
        self._reports = reports
        self._store = store
        self._clock = clock

    def run(self) -> Collected:
        """Raises what the reports raise, and what the store raises."""
        known = self._store.known()
        with closing(self._reports()) as reports:
            heads = reports.heads(reports.names())
            changed = [
                self._look(reports, known.get(name, Reported(name=name)), found) for name, found in heads.items()
            ]
        keys = {one.key for parts in changed if parts for found in parts.values() for one in found}
        self._store.settle(sorted(keys))
        return Collected(
            nodes=len(heads),
            changed=sum(parts is not None for parts in changed),
            certificates=sum(len(found) for parts in changed if parts for found in parts.values()),
        )

    def _look(
        self, reports: Reports, before: Reported, found: tuple[bytes, timedelta | None] | KnitError
    ) -> Mapping[int, tuple[Deployed, ...]] | None:
        """What was recorded; None where nothing had to be."""
        if isinstance(found, KnitError):
            self._refuse(before, None, found)
            return None
        raw, lasts = found
        digest = report.digest(raw)
        if digest == before.head:
            return None
        if before.revision:
            # Most reports have not changed, and 256 digests of each node would be read for nothing.
            recorded = self._store.recorded_parts(before.name, before.revision)
            if recorded is None:
                return None
            before = replace(before, parts=recorded)
        try:
            head = report.head_from_wire(raw, before.name)
            parts = self._changed(reports, before, head)
        except Refused as error:
            self._refuse(before, digest, error)
            return None
        age = self._age(head, lasts)
        if not before.revision and age >= LAPSE * head.interval:
            # Left behind by a node that was forgotten.
            return None
        return parts if self._store.record(before, head, digest, age, parts) else None

    def _changed(self, reports: Reports, before: Reported, head: Head) -> Mapping[int, tuple[Deployed, ...]]:
        """The parts that have changed. One that is not what the head says is being written: the next look has it."""
        numbers = [number for number, digest in head.parts.items() if before.parts.get(number) != digest]
        found = reports.parts(head.name, numbers)
        if isinstance(found, KnitError):
            raise Refused(str(found))
        whole = {number: raw for number, raw in found.items() if report.digest(raw) == head.parts[number]}
        return {number: report.part_from_wire(raw, number) for number, raw in whole.items()}

    def _age(self, head: Head, lasts: timedelta | None) -> timedelta:
        """By the time that Valkey still keeps it: a node's clock may be wrong. Without an end to that, by the clock."""
        whole = LAPSE * head.interval
        return max(self._clock() - head.at, NONE) if lasts is None else max(whole - lasts, NONE)

    def _refuse(self, before: Reported, digest: str | None, error: KnitError) -> None:
        if before.refused != str(error) or digest not in (None, before.head):
            self._store.refuse(before, digest, str(error))
