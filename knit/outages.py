"""Says once that a server has gone, and once that it is back: not at every try between the two."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import timedelta

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Outage:
    began: float
    error: str


class Outages:
    """The outages that one process knows of, by who met them: an actor, the scheduler, the queue's sender."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Outage] = {}

    def gone(self, who: str, error: Exception, *, kept: str, again: timedelta) -> None:
        """One line for a new trouble; the same trouble again is said at debug level only."""
        with self._lock:
            known = self._open.get(who)
            same = known is not None and known.error == str(error)
            said = any(outage.error == str(error) for outage in self._open.values())
            if not same:
                self._open[who] = _Outage(time.monotonic() if known is None else known.began, str(error))
        level = logging.DEBUG if said else logging.WARNING
        again_in = f"{again.total_seconds():.0f}s"
        log.log(level, "server away", extra={"error": str(error), "met_by": who, "kept": kept, "again_in": again_in})

    def back(self, who: str) -> None:
        """What `who` needs is there: one line, when that ends an outage that was spoken of."""
        if who not in self._open:
            return
        with self._lock:
            ended = self._open.pop(who, None)
            others = ended is not None and any(outage.error == ended.error for outage in self._open.values())
        if ended is not None and not others:
            away = f"{time.monotonic() - ended.began:.0f}s"
            log.info("server back", extra={"was": ended.error, "met_by": who, "away_for": away})

    def now(self) -> str | None:
        """What is in the way at present, in words."""
        with self._lock:
            return next((outage.error for outage in self._open.values()), None)
