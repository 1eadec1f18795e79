"""One writer at a time: inside this process by a lock, among processes by a lease on top of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from knit.errors import Busy
from knit.ports.process import Sleep

_FIRST = 0.01
_LONGEST = 0.5


def _taken(name: str) -> Busy:
    return Busy(f"another certificate is using {name!r}", lock=name)


class KeyedLocks:
    """Implements Exclusive for the threads of one process. A lock exists only while somebody wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self._rests: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, *, patience: float | None = None, rest: float = 0.0) -> Iterator[None]:
        """Hold the named lock. Raises Busy when it is not to be had for longer than `patience` seconds."""
        with self._alone(name, patience):
            left = self._rests.pop(name, 0.0) - time.monotonic()
            if left > 0:
                self._rest(name, left, patience)
            try:
                yield
            finally:
                if rest:
                    self._rests[name] = time.monotonic() + rest

    def _rest(self, name: str, left: float, patience: float | None) -> None:
        if patience is not None and left > patience:
            self._rests[name] = time.monotonic() + left
            raise _taken(name)
        time.sleep(left)

    @contextmanager
    def _alone(self, name: str, patience: float | None) -> Iterator[None]:
        with self._guard:
            lock, users = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            if not lock.acquire(timeout=-1 if patience is None else patience):
                raise _taken(name)
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


class Slots(Protocol):
    """Leases that may rest once they are given back."""

    def hold(self, name: str, *, rest: float = 0.0) -> AbstractContextManager[object | None]:
        """Take the lease, or give None at once while another has it, or it rests for so many seconds."""


class LeasedLocks:
    """Implements Exclusive among all workers: the process's own lock first, so that a process asks only once.

    Raises Busy when another process holds the lease for longer than `patience` seconds.
    """

    def __init__(self, leases: Slots, sleep: Sleep, *, patience: float = 120.0) -> None:
        self._leases = leases
        self._sleep = sleep
        self._patience = patience
        self._local = KeyedLocks()

    @contextmanager
    def __call__(self, name: str, *, patience: float | None = None, rest: float = 0.0) -> Iterator[None]:
        """Hold the named lease, which is refreshed while it is held, however long that is. See `KeyedLocks`."""
        with self._local(name, patience=patience), ExitStack() as held:
            self._take(name, held, self._patience if patience is None else patience, rest)
            yield

    def _take(self, name: str, held: ExitStack, patience: float, rest: float) -> None:
        deadline = time.monotonic() + patience
        pause = _FIRST
        while held.enter_context(self._leases.hold(name, rest=rest)) is None:
            if time.monotonic() >= deadline:
                raise _taken(name)
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST)
