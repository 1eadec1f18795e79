"""Keeps the threads of one process from asking an API all at once that has said it is too much."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from knit.providers.base import Runtime

_WARY = 60.0
_STEP = 0.2


class Turns:
    """One account at one API. For a minute after each 429, one call at a time; before that, no order at all.

    Without this, as many threads as work at once come back together when Retry-After is over, most of them are sent
    away again, and give up.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._one = threading.RLock()
        self._wary_until = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Make one call. Raises Interrupted when the process stops before its turn has come."""
        if time.monotonic() >= self._wary_until:
            yield
            return
        with self._alone():
            yield

    @contextmanager
    def wait_until(self, instant: datetime) -> Iterator[None]:
        """The API has sent this call away until then: come again then, and not together with others."""
        self._wary_until = time.monotonic() + _WARY
        with self._alone():
            self._runtime.sleep(max(0.0, (instant - self._runtime.clock()).total_seconds()))
            yield

    @contextmanager
    def _alone(self) -> Iterator[None]:
        while not self._one.acquire(timeout=_STEP):
            self._runtime.sleep(0)
        try:
            yield
        finally:
            self._one.release()
