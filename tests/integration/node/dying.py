"""A process that is killed at the Nth step with which it touches a file."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

STEPS = ("open", "rename", "link", "unlink", "fsync", "fchmod", "mkdir", "rmdir", "symlink")


def killed(work: Callable[[], object], step: int, when: str) -> bool:
    """Do the work in a process of its own that dies before, or right after, this step; False when it lived."""
    child = os.fork()
    if not child:
        code = 70
        try:
            _die_at(step, when)
            work()
            code = 0
        finally:
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in {0, -signal.SIGKILL}
    return ended != 0


def _die_at(last: int, when: str) -> None:
    taken = itertools.count(1)
    for name in STEPS:
        setattr(os, name, _dying(getattr(os, name), lambda: next(taken) == last, when))


def _dying(real: Callable[..., object], is_last: Callable[[], bool], when: str) -> Callable[..., object]:
    def step(*args: Any, **kwargs: Any) -> object:
        if real.__name__ == "open" and not args[1] & os.O_CREAT:
            return real(*args, **kwargs)
        fatal = is_last()
        if fatal and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return real(*args, **kwargs)
        finally:
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    return step
