"""The watcher's plain loop: pass, deploy, wait for the interval or for a hint."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

from knit.core.deploying import doubled
from knit.errors import Elsewhere, KnitError, Transient
from knit.flows.deploy import Deploy
from knit.flows.watch import Report, Watch
from knit.node.disk import Disk
from knit.node.service import Manager
from knit.node.signals import Signals, Woken
from knit.node.tidings import Tidings
from knit.node.told import StandingTroubles, Trouble, remark
from knit.valkey.hints import Hints

log = logging.getLogger(__name__)

SWEEP = 600.0
"""Seconds between two looks at everything: publishers that write no change feed, and lost hints."""

SETTLE = 0.1
"""Seconds between a hint and its pass: values that are published together are reloaded together."""

GAP = 2.0
"""Least seconds between a pass and the next that a hint asks for."""

HINTS_RETRY = (1.0, 60.0)
"""Seconds until a lost subscription is tried again: at first, and at most; doubled until one has proved to last."""

MISSING = Trouble("published value is missing, keeping what is installed", "the index names a key without value")


class Loop:
    """One node at work. `interval` is seconds between two polls.

    `reread` is called when somebody asks for a look; it may not come back.
    """

    def __init__(
        self,
        *,
        watch: Watch,
        disk: Disk,
        deploy: Deploy,
        hints: Hints,
        interval: float,
        signals: Signals,
        manager: Manager,
        reread: Callable[[], None],
        tidings: Tidings,
    ) -> None:
        self._watch = watch
        self._disk = disk
        self._deploy = deploy
        self._hints = hints
        self._interval = interval
        self._signals = signals
        self._manager = manager
        self._reread = reread
        self._tidings = tidings
        self._told = StandingTroubles()
        self._next_sweep = 0.0
        self._wakes: float | None = None
        self._busy = False
        self._hint_failures = 0
        self._elsewhere = 0

    def once(self) -> bool:
        """One whole pass, until all that it has written is served, waits or has failed; whether all went well."""
        well = self._pass(sweep=True)
        while self._busy:
            self._manager.sleep(max((self._wakes or 0.0) - time.monotonic(), 0))
            well = self._went_on()
            self._tidings.tell(None)
        return well

    def forever(self) -> None:
        """Until the process is told to stop."""
        first = True
        while True:
            started = time.monotonic()
            asked = self._signals.asked()
            if asked:
                self._reread()
                self._watch.hurry()
                self._deploy.hurry()
            self._pass(sweep=asked or started >= self._next_sweep)
            if first:
                # Whatever it came to: what waits for this node is not to wait for Valkey.
                self._manager.ready()
                first = False
            try:
                with self._signals.waiting():
                    self._wait(started)
            except Woken:
                log.info("told to look at everything")
                # It may have been woken in the middle of a reply.
                self._hints.close()

    def _pass(self, *, sweep: bool) -> bool:
        report = self._look(sweep=sweep)
        went_on = self._went_on(() if report is None else report.written)
        self._manager.alive()
        self._tidings.tell(None if report is None else _failures(report))
        return report is not None and not _failures(report) and went_on

    def _went_on(self, written: Collection[str] = ()) -> bool:
        """Go on with what is written and not yet served; whether nothing of it fails."""
        try:
            with self._signals.shield():
                outcome = self._deploy.run(written)
        except KnitError as error:
            self._told.broken_off(str(error))
            self._wakes, self._busy = time.monotonic() + GAP, False
            return False
        self._wakes, self._busy = outcome.wakes, outcome.busy
        return outcome.well

    def _look(self, *, sweep: bool) -> Report | None:
        try:
            report = self._watch.run(sweep=sweep)
        except KnitError as error:
            self._told.broken_off(str(error))
            return None
        if sweep:
            self._next_sweep = time.monotonic() + SWEEP
        self._tell(report)
        return report

    def _tell(self, report: Report) -> None:
        for remarks in (report.remarks, self._disk.rights):
            remark({key: Trouble(event, cause) for key, (event, cause) in remarks.items()})
        self._disk.rights.clear()
        failures = _failures(report)
        self._tell_of_others([error for key, error in report.complaints.items() if key not in failures])
        troubles = {key: _trouble(error) for key, error in failures.items()}
        self._told.went_through(troubles | dict.fromkeys(report.missing, MISSING))
        if report.written:
            log.info("pass finished", extra={"looked_at": report.looked_at, "written": len(report.written)})

    def _tell_of_others(self, reasons: Sequence[KnitError]) -> None:
        if len(reasons) != self._elsewhere:
            self._elsewhere = len(reasons)
            fields = {"count": len(reasons), "cause": str(reasons[0]) if reasons else ""}
            log.info("published values that are not for this node", extra=fields)

    def _wait(self, started: float) -> None:
        """Until the next poll, the next step of a deployment, or a hint."""
        until = started + self._interval
        if self._wakes is not None:
            until = min(until, max(self._wakes, time.monotonic()))
        if self._tidings.next_at is not None:
            until = min(until, max(self._tidings.next_at, started + GAP))
        while (left := until - time.monotonic()) > 0:
            if self._heard(left):
                self._manager.sleep(max(SETTLE, min(GAP, until - time.monotonic()) if self._is_busy(started) else 0))
                break
        self._drain()

    def _is_busy(self, started: float) -> bool:
        return time.monotonic() - started < GAP

    def _heard(self, seconds: float) -> bool:
        self._manager.alive()
        try:
            heard = self._hints.wait(self._manager.step(seconds))
        except KnitError as error:
            # Only sooner or later depends on hints; the poll itself says whether Valkey can be reached.
            self._lost_hints(error)
            self._manager.sleep(min(seconds, doubled(HINTS_RETRY, self._hint_failures - 1)))
            return False
        if self._hints.proven:
            self._hint_failures = 0
        return heard

    def _drain(self) -> None:
        try:
            self._hints.drain()
        except KnitError as error:
            self._lost_hints(error)

    def _lost_hints(self, error: KnitError) -> None:
        log.debug("no hints from Valkey", extra={"cause": str(error)})
        self._hints.close()
        self._hint_failures += 1


def _failures(report: Report) -> dict[str, KnitError]:
    return {key: error for key, error in report.complaints.items() if not isinstance(error, Elsewhere)}


def _trouble(error: KnitError) -> Trouble:
    event = "pair not written, trying again" if isinstance(error, Transient) else "pair refused"
    return Trouble(f"{event}, keeping what is installed", str(error))
