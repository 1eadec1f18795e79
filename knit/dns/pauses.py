"""The time that must pass between two challenges, where a provider wants them one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterable

from knit.ports.process import Sleep

_FORGOTTEN = 3600.0


class Pauses:
    """When each place was last cleared, for the threads of one process. A place is whatever can be compared."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._cleared: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def wait(self, places: Iterable[Hashable], seconds: float) -> None:
        """Return once none of the places was cleared within so many seconds. Raises Interrupted at a stop."""
        with self._lock:
            last = max((self._cleared.get(place, float("-inf")) for place in places), default=float("-inf"))
        left = last + seconds - time.monotonic()
        if left > 0:
            self._sleep(left)

    def cleared(self, places: Iterable[Hashable]) -> None:
        """A challenge's value has just been removed from these places."""
        now = time.monotonic()
        with self._lock:
            self._cleared = {place: then for place, then in self._cleared.items() if now - then < _FORGOTTEN}
            self._cleared |= dict.fromkeys(places, now)
