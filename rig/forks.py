"""Python programs forked from a process that has imported what they need: most of a short life is imports.

What runs is a process of its own, with its own arguments, environment, folder, streams and signals. What is about a
start itself (what is imported when, what the interpreter reads from its environment) needs the installed program.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["rig.forked"])


def start(
    main: Callable[[], None],
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    out: int,
    err: int,
) -> ForkServerProcess:
    """Start a program by its main function and its words (sys.argv), with these descriptors to write to."""
    process = CONTEXT.Process(
        target=_program, args=(main, list(words), dict(environment), directory, _Sent(out), _Sent(err))
    )
    process.start()
    return process


def _program(
    main: Callable[[], None],
    words: list[str],
    environment: dict[str, str],
    directory: Path,
    *written: _Sent,
) -> None:
    """The new process: begins as the interpreter would have begun it, and ends as it would have ended it."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(directory)
    streams = (os.open(os.devnull, os.O_RDONLY), *(sent.descriptor for sent in written))
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    # Also what keeps the process alive that this one was forked from.
    os.closerange(len(streams), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "rww"[number]) for number in range(len(streams)))
    sys.argv = words
    try:
        main()
    finally:
        atexit._run_exitfuncs()


class _Sent:
    """A descriptor that the new process gets a duplicate of."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], _Sent], tuple[Any]]:
        return _received, (DupFd(self.descriptor),)


def _received(duplicate: Any) -> _Sent:
    return _Sent(duplicate.detach())
