"""The first moments of a node's process, before anything else of it is imported.

Whatever the process is told in them must not be lost, whatever the locale says files have UTF-8 names, and as process 1
of a container it must bury the children of others.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from knit.signals import ENDING, MEANINGLESS, pass_over

TOLD = (*ENDING, signal.SIGHUP, *MEANINGLESS)


def hold() -> None:
    """Keep what this process is told from now on for the one that takes its place."""
    signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)


def open_streams() -> None:
    """Where a standard stream is closed, its number would go to the next file: nothing may be printed into that."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDWR)


def prepare() -> None:
    """Make this process one that can be told to stop, and the child of a process 1."""
    hold()
    open_streams()
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 -- ourselves
    for number in ENDING:
        signal.signal(number, _end)
    # A start looks at everything anyway.
    pass_over(signal.SIGHUP)
    if os.getpid() == 1:
        child = os.fork()
        if child:
            os._exit(_mind(child))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    # There is nothing to clean up yet, and an exception could be lost in the middle of an import.
    os._exit(0)


def _mind(child: int) -> int:
    """Pass on what this process is told, and wait for every process that is left to it; the child's exit code."""
    for number in TOLD:
        signal.signal(number, lambda told, _: os.kill(child, told))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
