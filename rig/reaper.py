"""The process that cleans up after its parent, however the parent ends (kill -9 included).

Run as a script with one argument, the token of the run. Lines on standard input name process groups and directories:
`group N`, `ungroup N`, `directory PATH`. At end of input every named group is killed, then every process that carries
`RIG_RUN=<token>` in its environment (so one that made its own session is found too), then the directories go.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

SWEEPS = 20


def carriers(mark: bytes) -> list[int]:
    """Pids of the processes whose environment holds the mark."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        # A process may end, or belong to another user, while it is being read.
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def sweep(mark: bytes) -> None:
    """Kill carriers until none is left: one may fork while it is being killed."""
    for _ in range(SWEEPS):
        pids = carriers(mark)
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main() -> None:
    """Read until the parent is gone, then leave nothing of it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    directories: list[str] = []
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "group":
            groups.add(int(rest))
        elif word == "ungroup":
            groups.discard(int(rest))
        elif word == "directory":
            directories.append(rest)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    sweep(f"RIG_RUN={sys.argv[1]}".encode())
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
