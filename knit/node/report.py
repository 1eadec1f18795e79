"""Tells the centre what this node has: on change, and now and then. It never fails, nor waits long for a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator
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
    """What the node knows of each certificate that it takes, or has taken."""

    def keys(self) -> Collection[str]:
        """The Valkey keys of them all."""

    def deployed(self, keys: Iterable[str]) -> Iterable[Deployed]:
        """What is known of these."""


class Reporter:
    """One node's reports, over one connection. Not for several threads.

    Nothing is kept of certificates but the parts that have to be sent: memory does not grow with their number.
    """

    def __init__(self, writer: ReportWriter, *, name: str, version: str, interval: timedelta, facts: Facts) -> None:
        self._writer = writer
        self._name = name
        self._version = version
        self._interval = interval
        self._facts = facts
        self._sent: dict[int, str] = {}
        self._changed: set[int] = set()
        self._whole = True
        self._failures = 0
        self._at = 0.0
        self._lost = False

    @property
    def next_at(self) -> float:
        """When the next report is due, by the monotonic clock."""
        return self._at

    def changed(self, keys: Iterable[str]) -> None:
        """Something has happened with these certificates: they are in the next report, which is due now."""
        before = len(self._changed)
        self._changed.update(map(report.part_of, keys))
        if len(self._changed) > before and not self._failures:
            self._at = 0.0

    def send_if_due(self) -> None:
        """Report what has changed, or that nothing has. What does not get through is told once and tried again."""
        if time.monotonic() < self._at:
            return
        try:
            self._send()
        except KnitError as error:
            self._failed(error)
            return
        self._at = time.monotonic() + self._interval.total_seconds()
        self._failures = 0
        if self._lost:
            self._lost = False
            log.info("reports go through again")

    def close(self) -> None:
        """Give the connection up."""
        self._writer.close()

    def _send(self) -> None:
        if self._whole:
            self._writer.begin()
            self._sent.clear()
            self._changed = set(range(report.PARTS))
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
        self._whole = is_new and not self._whole
        if self._whole:
            self._send()

    def _parts(self) -> Iterator[tuple[int, bytes]]:
        """Those of the changed parts that have certificates, and are not as they were sent last."""
        keys: dict[int, list[str]] = {}
        for key in self._facts.keys() if self._changed else ():
            if (number := report.part_of(key)) in self._changed:
                keys.setdefault(number, []).append(key)
        for number in self._changed:
            if number not in keys:
                self._sent.pop(number, None)
                continue
            raw = report.part_to_wire(self._facts.deployed(keys[number]))
            digest = report.digest(raw)
            if self._sent.get(number) != digest:
                self._sent[number] = digest
                yield number, raw

    def _head(self) -> Head:
        return Head(
            name=self._name, knit=self._version, at=datetime.now(UTC), interval=self._interval, parts=self._sent
        )

    def _failed(self, error: KnitError) -> None:
        self._writer.close()
        # What has arrived of it is not known, and a server that has failed over may lack more.
        self._whole = True
        delay = min(RETRY[0] * 2 ** min(self._failures, 32), RETRY[1])
        self._failures += 1
        self._at = time.monotonic() + delay
        if not self._lost:
            self._lost = True
            log.warning("report not sent, will retry", extra={"cause": str(error), "again_in": f"{delay:g}s"})
