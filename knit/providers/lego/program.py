"""The child: one provider of lego, driven by one JSON object per line on standard input, answered in the same way.

Run as `python -I program.py PARENT`, so nothing of knit and none of the caller's Python settings is here. The first
line is `{"action": "configure", …}`; credentials come by this way only. Whatever lego prints goes to standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TextIO

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer until the parent closes the pipe or is gone."""
    _die_with(int(sys.argv[1]))
    # A core file would hold the credentials.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        _serve(sys.stdin, replies)


def _serve(requests: TextIO, replies: TextIO) -> None:
    command = _lego()
    for request in requests:
        replies.write(" ".join(command(request).splitlines()) + "\n")
        replies.flush()


def _lego() -> Callable[[str], str]:
    try:
        command: Callable[[str], str] = import_module("lego_bridge").cmd
    except ImportError as e:
        reply = json.dumps({"success": False, "missing": True, "error": str(e)})
        return lambda _: reply
    return command


def _die_with(parent: int) -> None:
    """Be killed when the parent ends: lego's calls hold Python's lock, so nothing here could notice by itself."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
