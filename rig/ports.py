"""Free loopback ports."""

from __future__ import annotations

import random
import socket
from contextlib import closing

# Below the kernel's ephemeral range, so no outgoing connection takes a port between the look and the bind.
LOWEST, HIGHEST = 15_000, 31_999

_handed_out: set[int] = set()
_draw = random.SystemRandom()


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with closing(socket.socket(socket.AF_INET, kind)) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that is free for TCP and UDP now and is not handed out twice by this process."""
    while True:
        port = _draw.randint(LOWEST, HIGHEST)
        if port not in _handed_out and _is_free(port):
            _handed_out.add(port)
            return port
