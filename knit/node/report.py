"""Tells the centre what this node has: on change, and now and then. It never fails, nor waits long for a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from knit.core import report
from knit.core.model.deployed import Deployed
from knit.core.report import HEAD, LAPSE, Head
from knit.errors import KnitError
from knit.valkey.reporting import ReportWriter

log = logging.getLogger(__name__)

RETRY = (5.0, 600.0)
"""Seconds until a report that did not get through is tried again: at first, and at most; doubled each time."""

PORTION = 16
"""Parts that are sent together: all of ten thousand certificates at once would be a megabyte."""


class Facts(Protocol):
    """What the node knows of each certificate that it takes."""

    def version(self) -> object:
        """Differs as soon as anything differs; cheap."""

    def marks(self) -> Iterator[tuple[str, int]]:
        """Each certificate's Valkey key, and a number that differs as soon as anything of it differs."""

    def deployed(self, keys: Iterable[str]) -> Iterable[Deployed]:
        """What is known of these."""


class Reporter:
    """One node's reports, over one connection. Not for several threads.

    Nothing is kept of certificates but two numbers for each part of them: memory does not grow with how many there are.
    """

    def __init__(self, writer: ReportWriter, *, name: str, version: str, interval: timedelta, facts: Facts) -> None:
        self._writer = writer
        self._name = name
        self._version = version
        self._interval = interval
        self._facts = facts
        self._known: object = None
        self._marks: dict[int, int] = {}
        self._digests: dict[int, str] = {}
        self._changed: set[int] = set()
        self._whole = True
        self._failures = 0
        self._lost = False
        self.next_at = 0.0
        """When the next report is due if nothing changes, by the monotonic clock."""

    def send_if_due(self) -> None:
        """Report what has changed, or that nothing has. What does not get through is told once and tried again."""
        self._look()
        due = self._changed and not self._failures
        if not due and time.monotonic() < self.next_at:
            return
        try:
            self._send()
        except KnitError as error:
            self._failed(error)
            return
        self.next_at = time.monotonic() + self._interval.total_seconds()
        self._failures = 0
        if self._lost:
            self._lost = False
            log.info("reports go through again")

    def close(self) -> None:
        """Give the connection up."""
        self._writer.close()

    def _look(self) -> None:
        """Which parts have changed since the last look."""
        version = self._facts.version()
        if version == self._known:
            return
        marks: dict[int, int] = {}
        for key, mark in self._facts.marks():
            number = report.part_of(key)
            marks[number] = marks.get(number, 0) ^ hash((key, mark))
        self._changed |= {
            number for number in marks.keys() | self._marks if marks.get(number) != self._marks.get(number)
        }
        self._known, self._marks = version, marks

    def _send(self) -> None:
        whole = self._whole
        self._writer.begin(whole=whole)
        if whole:
            self._digests.clear()
            self._changed = set(self._marks)
        fields: dict[str, bytes] = {}
        for number, raw in self._parts():
            fields[str(number)] = raw
            if len(fields) == PORTION:
                self._writer.write(fields, LAPSE * self._interval)
                fields = {}
        fields[HEAD] = report.head_to_wire(self._head())
        is_new = self._writer.write(fields, LAPSE * self._interval)
        self._changed.clear()
        # The server has lost what was there: the next report is whole, and comes at once.
        self._whole = is_new and not whole
        if self._whole:
            self._send()

    def _parts(self) -> Iterator[tuple[int, bytes]]:
        """The parts that have changed."""
        keys: dict[int, list[str]] = {}
        for key, _ in self._facts.marks() if self._changed else ():
            if (number := report.part_of(key)) in self._changed:
                keys.setdefault(number, []).append(key)
        for number in sorted(self._changed):
            if number in keys:
                raw = report.part_to_wire(self._facts.deployed(keys[number]))
                self._digests[number] = report.digest(raw)
                yield number, raw
            else:
                self._digests.pop(number, None)

    def _head(self) -> Head:
        now = datetime.now(UTC)
        return Head(name=self._name, knit=self._version, at=now, interval=self._interval, parts=self._digests)

    def _failed(self, error: KnitError) -> None:
        self._writer.close()
        # What has arrived of it is not known, and a server that has failed over may lack more.
        self._whole = True
        delay = min(RETRY[0] * 2 ** min(self._failures, 32), RETRY[1])
        self._failures += 1
        self.next_at = time.monotonic() + delay
        if not self._lost:
            self._lost = True
            log.warning("report not sent, will retry", extra={"cause": str(error), "again_in": f"{delay:g}s"})
