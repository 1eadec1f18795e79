"""What a process calls itself to PostgreSQL: events, and pg_stat_activity, say by it who did something."""

from __future__ import annotations

import os
import pwd
import socket

WORKER = "knit-worker"
SCHEDULER = "knit-scheduler"
LONGEST = 63
"""Bytes; PostgreSQL cuts off what is longer, and shows what is not ASCII as question marks."""


def person() -> str:
    """Whoever has started this command, and where."""
    return name_of(_user(), socket.gethostname())


def name_of(user: str, host: str) -> str:
    """`knit USER@HOST`, as short as PostgreSQL wants it: the end of the host is cut first."""
    start = f"knit {user}"[: LONGEST - 2]
    return f"{start}@{host}"[:LONGEST].encode("ascii", "replace").decode()


def _user() -> str:
    """A container may run a user that its password file does not know."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
