"""How a worker process is told to stop, and how waiting work hears of it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import dramatiq

from knit.errors import Interrupted


class Stopping(dramatiq.Middleware):
    """Wakes everything that sleeps when the worker shuts down, and closes what was opened once it has."""

    def __init__(self) -> None:
        self._event = Event()
        self._close: Callable[[], None] = lambda: None

    def closes(self, close: Callable[[], None]) -> None:
        """What to call once no thread works any more."""
        self._close = close

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Threads that wait raise Interrupted from now on."""
        self._event.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """No thread works any more."""
        self._close()

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Interrupted as soon as the worker is told to stop."""
        if self._event.wait(seconds):
            message = "the worker is stopping"
            raise Interrupted(message)
