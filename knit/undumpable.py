"""Keeps what is in this process's memory out of core files, and from other processes of the same user."""

from __future__ import annotations

import ctypes
import resource

PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """Called once at the start of each process of the centre that has keys in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    refuse_dumps()


def refuse_dumps() -> None:
    """The same for a process that starts others' programs, such as a node: they keep the limits that they had."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
