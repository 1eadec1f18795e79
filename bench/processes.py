"""What processes have used so far: processor time and memory, as the kernel counts them."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SESSION, USER, SYSTEM = 3, 11, 12
"""Positions in /proc/PID/stat behind the command's closing parenthesis (proc_pid_stat(5))."""


def session(leader: int) -> list[int]:
    """The processes of the session that this process leads, itself first."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(pid for pid in found if _stat(pid)[SESSION : SESSION + 1] == [str(leader)])


def cpu(*leaders: int) -> float:
    """Seconds of processor time, user and system, of the living processes of these sessions."""
    return sum(sum(_times(pid)) for leader in leaders for pid in session(leader)) / TICK


def fine_cpu(leader: int) -> float:
    """The same in nanosecond steps: for a process that hardly does anything."""
    return sum(_run_time(pid) for pid in session(leader)) / 1e9


def resident(pid: int) -> int:
    """Bytes of memory the process has in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def highest() -> float:
    """What this process has had in RAM at most, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def finished_cpu() -> float:
    """Seconds of processor time of all children this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _times(pid: int) -> tuple[int, int]:
    fields = _stat(pid)
    return (int(fields[USER]), int(fields[SYSTEM])) if fields else (0, 0)


def _stat(pid: int) -> list[str]:
    """The fields behind the command; empty when the process has gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _run_time(pid: int) -> int:
    return sum(int(text.split()[0]) for text in _tasks(pid))


def _tasks(pid: int) -> Iterator[str]:
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            yield task.read_text()
