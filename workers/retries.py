"""How many threads the renewals that have failed before may have: others never wait until they have failed again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from knit.core.model.certificate import CertId

SHARE = 4
"""One in so many threads, and at least one."""


class RetryShare:
    """Implements Retries for the threads of one process. Those that find no room queue up here, without a thread."""

    def __init__(self, threads: int) -> None:
        self._room = max(1, threads // SHARE)
        self._running = 0
        self._waiting: dict[CertId, None] = {}
        self._lock = threading.Lock()

    @contextmanager
    def room(self, cert_id: CertId) -> Iterator[bool]:
        """Whether it may be tried now."""
        admitted = self._enter(cert_id)
        try:
            yield admitted
        finally:
            if admitted:
                with self._lock:
                    self._running -= 1

    def line_up(self, cert_id: CertId) -> None:
        """It found no room: `freed` gives it when its turn comes."""
        with self._lock:
            self._waiting.setdefault(cert_id)

    def freed(self) -> CertId | None:
        """The one that has waited longest, once there is room for it."""
        with self._lock:
            if self._running >= self._room or not self._waiting:
                return None
            cert_id = next(iter(self._waiting))
            del self._waiting[cert_id]
            return cert_id

    def _enter(self, cert_id: CertId) -> bool:
        with self._lock:
            if self._running < self._room:
                self._running += 1
                self._waiting.pop(cert_id, None)
                return True
            return False
