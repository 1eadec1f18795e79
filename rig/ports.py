"""Free loopback ports."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

# Below the kernel's ephemeral range, so no outgoing connection takes a port between the look and the bind.
LOWEST, HIGHEST = 15_000, 31_999

_handed_out: set[int] = set()
_draw = random.SystemRandom()


@cache
def _claims(pid: int) -> int:  # A fork has none of its parent's locks.
    """The file descriptor of the file in which each process of this user locks the byte of each port it has drawn."""
    path = Path(tempfile.gettempdir()) / f"knit-rig-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _claim(port: int) -> bool:
    """Claim a port: false if another process has it, else it is ours until this process ends.

    A server that is stopped for a moment binds nothing, and yet must find its port free when it starts again.
    """
    try:
        fcntl.lockf(_claims(os.getpid()), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with closing(socket.socket(socket.AF_INET, kind)) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that is free for TCP and UDP, and that no other process of this user is given meanwhile."""
    while True:
        port = _draw.randint(LOWEST, HIGHEST)
        if port not in _handed_out and _claim(port) and _is_free(port):
            _handed_out.add(port)
            return port
