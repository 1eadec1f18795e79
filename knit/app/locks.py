"""One writer at a time: inside this process by a lock, among processes by a lease on top of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from knit.errors import Busy
from knit.ports import Leases, Sleep

_FIRST = 0.01
_LONGEST = 0.5

BRIEF = 3.0
"""Seconds for which a thread waits for what another certificate may hold for minutes."""

_BUSY = "another certificate is using {name!r}"


class KeyedLocks:
    """Implements Exclusive for the threads of one process. A lock exists only while somebody wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def __call__(self, name: str, *, brief: bool = False) -> Iterator[None]:
        """Hold the named lock. With `brief`, raise Busy when it is not free soon."""
        with self._guard:
            lock, users = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            if not lock.acquire(timeout=BRIEF if brief else -1):
                raise Busy(_BUSY.format(name=name))
            try:
                yield
            finally:
                lock.release()
        finally:
            self._leave(name)

    def _leave(self, name: str) -> None:
        with self._guard:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)


class LeasedLocks:
    """Implements Exclusive among all workers: the process's own lock first, so that a process asks only once.

    Raises Busy when another process holds the lease for longer than `patience` seconds.
    """

    def __init__(self, leases: Leases, sleep: Sleep, *, patience: float = 120.0) -> None:
        self._leases = leases
        self._sleep = sleep
        self._patience = patience
        self._local = KeyedLocks()

    @contextmanager
    def __call__(self, name: str, *, brief: bool = False) -> Iterator[None]:
        """Hold the named lease. With `brief`, raise Busy when it is not free soon."""
        with self._local(name, brief=brief), ExitStack() as held:
            self._take(name, held, brief=brief)
            yield

    def _take(self, name: str, held: ExitStack, *, brief: bool) -> None:
        deadline = time.monotonic() + (min(BRIEF, self._patience) if brief else self._patience)
        pause = _FIRST
        while held.enter_context(self._leases.hold(name)) is None:
            if time.monotonic() > deadline:
                raise Busy(_BUSY.format(name=name))
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST)
