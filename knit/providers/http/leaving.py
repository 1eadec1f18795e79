"""Calls that may take long, and must not hold up a process that is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from knit.errors import Interrupted
from knit.ports.process import Sleep

T = TypeVar("T")

_STEP = 0.1
_LAST_WORDS = 3.0


def until_stopped(work: Callable[[], T], sleep: Sleep) -> T:
    """Do the work in a thread of its own and give its result.

    When this process is told to stop, the work gets a few seconds more, for a write that is left half-way may still
    take effect. Raises Interrupted after that, and leaves the thread to end by its own deadline.
    """
    result: Future[T] = Future()
    threading.Thread(target=_run, args=(work, result), daemon=True).start()
    stopped: float | None = None
    while not wait([result], _STEP).done:
        try:
            sleep(0)
        except Interrupted:
            now = time.monotonic()
            stopped = now if stopped is None else stopped
            if now - stopped > _LAST_WORDS:
                raise
    return result.result()


def _run(work: Callable[[], T], result: Future[T]) -> None:
    try:
        value = work()
    except BaseException as e:  # noqa: BLE001 - handed over to the thread that waits, whatever it is
        result.set_exception(e)
    else:
        result.set_result(value)
