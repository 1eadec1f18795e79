"""One child process: its own process group, its output in a file, a deadline for being ready, a sure end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from rig.lifeline import LIFELINE

POLL, POLL_AT_MOST, SHARE = 0.01, 0.1, 0.1
"""Seconds between two looks: a share of the time waited so far, for a look may open a connection."""
TAIL = 2_000


class RigError(Exception):
    """A server of the rig could not be had, did not start or did not answer: never the product's fault."""


class MissingError(RigError):
    """A server's programs are not on this machine and cannot be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account that a server runs under instead of root."""

    uid: int
    gid: int


def wait_until(probe: Callable[[], bool], what: str, *, seconds: float = 15.0) -> None:
    """Ask until the probe says yes. Raises RigError that names what did not happen within `seconds`."""
    began = time.monotonic()
    while not probe():
        waited = time.monotonic() - began
        if waited > seconds:
            message = f"{what}: not within {seconds:g} s"
            raise RigError(message)
        time.sleep(min(max(POLL, SHARE * waited), POLL_AT_MOST))


def accepts(port: int) -> bool:
    """Whether something accepts TCP connections on this port of 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Child(Protocol):
    """What is asked of a child process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""

    def poll(self) -> int | None:
        """Its exit status, or None while it runs; minus the signal's number if a signal ended it."""

    def wait(self, timeout: float | None = None, /) -> int:
        """Its exit status once it has ended. Raises subprocess.TimeoutExpired."""


@dataclass(slots=True, kw_only=True)
class Process:
    """A command that can be started, stopped, killed, paused and started again.

    `environment` is added to this process's own; `output` collects standard output and error over all starts.
    """

    name: str
    command: Sequence[str]
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    user: User | None = None
    _child: Child | None = None

    def start(self, ready: Callable[[], bool] | None = None, *, seconds: float = 15.0) -> None:
        """Start, and wait until `ready`. Raises RigError with the end of the output if it dies or is late."""
        if self.is_running():
            message = f"{self.name} already runs"
            raise RigError(message)
        with self.output.open("ab") as sink:
            self._child = self._begun(sink)
        LIFELINE.tell(f"group {self._child.pid}")
        if ready is not None:
            self._await(ready, seconds)

    @property
    def pid(self) -> int:
        """The process id, which is its group's too."""
        if self._child is None:
            message = f"{self.name} was never started"
            raise RigError(message)
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, or None while it runs; minus the signal's number if a signal ended it."""
        return None if self._child is None else self._child.poll()

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def text(self) -> str:
        """Everything it has printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def pause(self) -> None:
        """Stop the whole group without ending it, as a machine that hangs."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused group go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def wait(self, *, seconds: float) -> int:
        """Wait for its end and return the exit status. Raises RigError when it is late."""
        assert self._child is not None
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            message = f"{self.name} still runs after {seconds:g} s"
            raise RigError(message) from None

    def stop(self, how: signal.Signals = signal.SIGTERM, *, seconds: float = 10.0) -> int | None:
        """Ask it to end, then kill the group; returns the exit status."""
        if self._child is None:
            return None
        if self.is_running():
            self.send(how)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
        return self.kill()

    def kill(self) -> int | None:
        """Kill the whole group at once, as a machine that loses power."""
        if self._child is None:
            return None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        status = self._child.wait(5)
        LIFELINE.tell(f"ungroup {self._child.pid}")
        return status

    def _begun(self, sink: IO[bytes]) -> Child:
        return subprocess.Popen(
            list(self.command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=self._environment(),
            start_new_session=True,
            user=None if self.user is None else self.user.uid,
            group=None if self.user is None else self.user.gid,
            extra_groups=None if self.user is None else (),
        )

    def _await(self, ready: Callable[[], bool], seconds: float) -> None:
        def dead_or_ready() -> bool:
            return not self.is_running() or ready()

        try:
            wait_until(dead_or_ready, f"{self.name} ready", seconds=seconds)
        except RigError as late:
            self.kill()
            message = f"{late}; it said: {self.text()[-TAIL:]}"
            raise RigError(message) from None
        if not self.is_running():
            message = f"{self.name} ended with {self.returncode} at start; it said: {self.text()[-TAIL:]}"
            raise RigError(message)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "RIG_RUN": LIFELINE.token}


def program(name: str, *folders: str) -> Path | None:
    """Where a program is: on PATH, in the folders for system programs, or in the given folders."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", *folders])
    found = shutil.which(name, path=places)
    return None if found is None else Path(found)
