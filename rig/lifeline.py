"""This process's line to its reaper: what to kill and remove when this process is gone."""

from __future__ import annotations

import atexit
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

REAPER = Path(__file__).with_name("reaper.py")


class Lifeline:
    """One reaper for the whole process, started with the first thing there is to reap."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        self._reaper: subprocess.Popen[str] | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def tell(self, line: str) -> None:
        """Send one line of the reaper's language (see reaper.py)."""
        if os.getpid() != self._owner:
            return  # A fork shares the pipe but owns nothing.
        with self._lock:
            if self._reaper is None:
                self._reaper = self._start()
                atexit.register(self._let_go)
            assert self._reaper.stdin is not None
            self._reaper.stdin.write(line + "\n")
            self._reaper.stdin.flush()

    def _let_go(self) -> None:
        """It outlives us, which is what it is for: nobody is to be warned of that."""
        if os.getpid() == self._owner and self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            self._reaper.returncode = 0

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", str(REAPER), self.token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )


LIFELINE = Lifeline()


def temporary_directory(purpose: str, *, owner: tuple[int, int] | None = None) -> Path:
    """A short-named directory of our own that goes when this process goes; handed to `owner` (uid, gid) if given."""
    path = Path(tempfile.mkdtemp(prefix=f"knit-{purpose}-"))
    if owner is not None:
        os.chown(path, *owner)
    LIFELINE.tell(f"directory {path}")
    return path
