"""What processes do at signals until they have something better to do, and at those that mean nothing to them."""

from __future__ import annotations

import signal
import sys
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
MEANINGLESS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGPOLL)


def passed_over(number: int, frame: FrameType | None) -> None:
    """Do nothing. Unlike a signal that is ignored, this is not left to the programs that a process starts."""
    del number, frame


def pass_over(*more: signal.Signals) -> None:
    """Do nothing at these and at those without a meaning, from now on. Main thread only."""
    for number in (*MEANINGLESS, *more):
        signal.signal(number, passed_over)


def leave() -> None:
    """End with exit code 0 wherever the process is when it is told to stop: what is open is closed on the way."""
    for number in ENDING:
        signal.signal(number, lambda *_: sys.exit(0))
