"""Runs the reload command: bounded in time and output, in a process group of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from knit.ports.commands import Ran

MAX_OUTPUT = 64 * 1024
GRACE = 2.0
"""Seconds between asking the group to end and killing it."""

STOPPING = 3.0
"""Seconds a reload may still take once this process has been told to stop."""

_STEP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """`sh -c command`. `environment` must hold nothing of knit's own."""

    command: str
    timeout: float
    environment: Mapping[str, str] = field(repr=False)

    def run(self, stopping: Callable[[], bool]) -> tuple[str | None, str]:
        """Run it once: why it failed (None: it did not), and its output, cut at 64 KiB."""
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", self.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot be started: {error.strerror}", ""
        with process:
            output = bytearray()
            failure = self._watch(process, output, stopping)
            return failure, output.decode(errors="replace").strip()

    def _watch(self, process: subprocess.Popen[bytes], output: bytearray, stopping: Callable[[], bool]) -> str | None:
        deadline = time.monotonic() + self.timeout
        open_output = True
        while process.poll() is None:
            if stopping():
                deadline = min(deadline, time.monotonic() + STOPPING)
            if time.monotonic() >= deadline:
                _end_group(process)
                return (
                    f"was killed after {self.timeout:g}s" if not stopping() else "was killed because this process stops"
                )
            open_output = _collect(process, output, _STEP) if open_output else _pause(process)
        # A daemon that the command leaves behind may hold the pipe open: what is there is all there is.
        while open_output and len(output) < MAX_OUTPUT and _ready(process, 0):
            open_output = _collect(process, output, 0)
        return None if process.returncode == 0 else _status(process.returncode)


class Shell:
    """Runs the commands of places, one at a time; `stopping` tells that they must come to an end."""

    def __init__(self, timeout: float, environment: Mapping[str, str], stopping: Callable[[], bool]) -> None:
        self._timeout = timeout
        self._environment = environment
        self._stopping = stopping

    def run(self, command: str) -> Ran:
        """Run `sh -c command` to its end."""
        reload = Reload(command=command, timeout=self._timeout, environment=self._environment)
        failure, output = reload.run(self._stopping)
        return Ran(failure=failure, output=output)


def _collect(process: subprocess.Popen[bytes], output: bytearray, seconds: float) -> bool:
    """Take what the command has printed; False once its output has ended."""
    assert process.stdout is not None
    if not _ready(process, seconds):
        return True
    data = os.read(process.stdout.fileno(), 65536)
    output += data[: MAX_OUTPUT - len(output)]
    return bool(data)


def _ready(process: subprocess.Popen[bytes], seconds: float) -> bool:
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], seconds)[0])


def _pause(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STEP)
    return False


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _status(code: int) -> str:
    return f"exited with status {code}" if code > 0 else f"was ended by signal {-code}"
