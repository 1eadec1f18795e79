"""SIGTERM, SIGINT and SIGQUIT end the process at once, except inside a step that must not be cut in two.

SIGHUP asks for a look at everything, now: it wakes a process that waits, and cuts nothing else short.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from knit.node import start
from knit.signals import ENDING, pass_over


class Woken(BaseException):
    """The wait is over: somebody asked for a look."""


class Signals:
    """Raises SystemExit(0) wherever the main thread is, or as soon as it leaves a shield."""

    def __init__(self) -> None:
        self._shields = 0
        self._stopping = False
        self._asked = False
        self._waiting = False

    def install(self) -> None:
        """Answer the signals from now on; only the main thread may call this."""
        for number in ENDING:
            signal.signal(number, self._received)
        pass_over()
        signal.signal(signal.SIGHUP, self._hung_up)

    def stopping(self) -> bool:
        """Whether the process has been told to stop."""
        return self._stopping

    def asked(self) -> bool:
        """Whether somebody has asked for a look since the last call."""
        asked, self._asked = self._asked, False
        return asked

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Raise Woken out of this block when somebody asks for a look, or has asked already."""
        self._waiting = True
        try:
            if self._asked:
                raise Woken
            yield
        finally:
            self._waiting = False

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold a stop back until the end of this block."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            # Also when the step failed: a stop that was held back must not be forgotten.
            self._stop_if_told()

    def _stop_if_told(self) -> None:
        if self._stopping and not self._shields:
            # Told once is enough: a second stop would cut short what the first one has begun to put away.
            start.hold()
            raise SystemExit(0)

    def _received(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True
        self._stop_if_told()

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True
        if self._waiting:
            self._waiting = False
            raise Woken
