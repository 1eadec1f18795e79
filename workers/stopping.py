"""How a worker process is told to stop, and how waiting work hears of it."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections.abc import Callable
from threading import Event
from types import FrameType

import dramatiq

from knit.errors import Interrupted
from knit.signals import pass_over

PR_SET_PDEATHSIG = 1


def answer_signals() -> None:
    """Stop in order once, however often the process is told to, and when the process that minds it is gone."""
    stop, told = signal.getsignal(signal.SIGTERM), Event()

    def stop_once(number: int, frame: FrameType | None) -> None:
        # A signal to the whole group comes twice: from whoever sent it, and from the minder. Twice ends dramatiq's
        # workers at once.
        if callable(stop) and not told.is_set():
            told.set()
            stop(number, frame)

    if callable(stop):
        signal.signal(signal.SIGTERM, stop_once)
    # The minder passes on what it is told.
    pass_over(signal.SIGQUIT)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    minder = multiprocessing.parent_process()
    if minder is not None and not minder.is_alive():
        raise SystemExit(0)


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
