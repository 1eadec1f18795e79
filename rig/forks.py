"""Python programs forked from a process that has imported what they need: most of a short command's time is imports.

What runs is a process of its own, with its own arguments, environment, folder, session, streams and signals. What is
about a start itself (what is imported when, what the interpreter reads from its environment) needs the installed
program.
"""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

from rig.process import Child, Process, RigError

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["rig.forked"])

OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_", "TMPDIR")
"""Beginnings of variables that count when a process starts, or when a library is imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended; minus the signal's number if a signal ended it."""

    code: int
    out: str
    err: str


def is_like_ours(environment: Mapping[str, str]) -> bool:
    """Whether it differs from our own environment in nothing that must be there at a start."""
    return _of_the_interpreter(environment) == _of_the_interpreter(os.environ)


def _of_the_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    # The path is the same folder as that of the editable install.
    names = [name for name in environment if name.startswith(OF_THE_INTERPRETER) and name != "PYTHONPATH"]
    return {name: environment[name] for name in names}


def run(
    main: Callable[[], None], words: Sequence[str], *, environment: Mapping[str, str], directory: Path, seconds: float
) -> Ended:
    """Run a program to its end. Raises RigError when it is late."""
    with _in_memory() as out, _in_memory() as err:
        process = start(main, words, environment=environment, directory=directory, out=out.fileno(), err=err.fileno())
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            message = f"{' '.join(words)} still ran after {seconds:g} s; it said: {_text(out)}{_text(err)}"
            raise RigError(message)
        return Ended(code=process.exitcode, out=_text(out), err=_text(err))


@dataclass(slots=True, kw_only=True)
class ForkedProcess(Process):
    """A program that is forked instead of started; `command` is its sys.argv."""

    main: Callable[[], None]

    def _begun(self, sink: IO[bytes]) -> Child:
        written = sink.fileno()
        directory = self.directory or Path.cwd()
        return Forked(
            start(
                self.main, self.command, environment=self._environment(), directory=directory, out=written, err=written
            )
        )


class Forked:
    """A forked process, asked as a Popen."""

    def __init__(self, process: ForkServerProcess) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self._process = process

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None, /) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def kill(self) -> None:
        self._process.kill()


def start(
    main: Callable[[], None],
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    out: int,
    err: int,
    stdin: int | None = None,
) -> ForkServerProcess:
    """Start a program by its main function and its words (sys.argv), with these descriptors to write to and to read."""
    with ExitStack() as opened:
        if stdin is None:
            stdin = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, stdin)
        streams = (_Sent(stdin), _Sent(out), _Sent(err))
        process = CONTEXT.Process(target=_program, args=(main, list(words), dict(environment), directory, *streams))
        process.start()
    return process


def _program(
    main: Callable[[], None],
    words: list[str],
    environment: dict[str, str],
    directory: Path,
    *streams: _Sent,
) -> None:
    """The new process: begins as the interpreter would have begun it, and ends as it would have ended it."""
    os.setsid()
    multiprocessing.set_start_method(None, force=True)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(directory)
    for number, sent in enumerate(streams):
        os.dup2(sent.descriptor, number)
    # Also what keeps the process alive that this one was forked from.
    os.closerange(len(streams), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    sys.argv = words
    try:
        main()
    finally:
        threading._shutdown()  # type: ignore[attr-defined] # as the interpreter does, before its exit functions
        atexit._run_exitfuncs()


class _Sent:
    """A descriptor that the new process gets a duplicate of."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], _Sent], tuple[Any]]:
        return _received, (DupFd(self.descriptor),)


def _received(duplicate: Any) -> _Sent:
    return _Sent(duplicate.detach())


def _in_memory() -> io.FileIO:
    return io.FileIO(os.memfd_create("output"), "r+")


def _text(file: io.FileIO) -> str:
    file.seek(0)
    return file.readall().decode()
