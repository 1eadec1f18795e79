"""The parent's side of one lego process: started by exec, spoken to line by line, killed with its process group.

The Go runtime does not survive a fork, lego keeps one provider and its record ids for a whole process, and it puts
credentials into the process's environment: so every set of challenges has a process of its own.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from knit.errors import Interrupted, Misconfigured
from knit.providers.base import Runtime

_PROGRAM = Path(__file__).with_name("program.py")
_STEP = 0.1
_LAST_WORDS = 3.0
_LIMIT = 1024 * 1024
_KEPT = 2000
_CHUNK = 65536


class Ended(Exception):
    """The child has no answer: it died, or was too late. The text says which, and what it has printed."""


class Child:
    """One process, for one thread: it is killed when the thread that made it ends, however that ends."""

    def __init__(self, interpreter: str, environment: Mapping[str, str], runtime: Runtime) -> None:
        self._runtime = runtime
        self._read: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        try:
            self._process = subprocess.Popen(
                [interpreter, "-I", str(_PROGRAM), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        except OSError as e:
            raise Misconfigured(f"{interpreter} cannot be run ({e.strerror})") from None

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    def ask(self, request: Mapping[str, object], *, seconds: float) -> dict[str, object]:
        """Send one request and give the answer. After Ended or Interrupted the child is of no more use.

        When this process is told to stop, lego gets a few seconds more, for killing it half-way leaves a record
        behind. Raises Interrupted after that.
        """
        with suppress(BrokenPipeError):  # it has died: reading tells why
            _pipe(self._process.stdin).write(json.dumps(request).encode() + b"\n")
        try:
            reply = json.loads(self._line(seconds))
        except ValueError:
            raise Ended("gave an answer that is no JSON") from None
        if not isinstance(reply, dict):
            raise Ended("gave an answer that is no object")
        return reply

    def close(self) -> None:
        """Kill it with everything it has started; it has nothing to save."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            _pipe(pipe).close()

    def _line(self, seconds: float) -> bytes:
        """The next line of output, while what lego prints beside it is taken off its hands."""
        patience = _Patience(self._runtime, seconds)
        with selectors.DefaultSelector() as open_pipes:
            open_pipes.register(_pipe(self._process.stdout), selectors.EVENT_READ, "stdout")
            open_pipes.register(_pipe(self._process.stderr), selectors.EVENT_READ, "stderr")
            while not self._read["stdout"].endswith(b"\n"):
                if not self._take(open_pipes):
                    raise Ended(f"ended without an answer{self._said()}")
                if patience.is_over():
                    raise Ended(f"gave no answer in {seconds:.0f} s and was killed{self._said()}")
        line, self._read["stdout"] = self._read["stdout"], b""
        return line

    def _take(self, open_pipes: selectors.BaseSelector) -> bool:
        """Read what there is; False at the end of the output."""
        for key, _ in open_pipes.select(_STEP):
            read = os.read(key.fd, _CHUNK)
            kept = (self._read[key.data] + read)[-_KEPT if key.data == "stderr" else -_LIMIT :]
            self._read[key.data] = kept
            if not read:
                open_pipes.unregister(key.fileobj)
        return any(key.data == "stdout" for key in open_pipes.get_map().values())

    def _said(self) -> str:
        said = self._read["stderr"].decode("utf-8", "replace").strip()
        return f"; it said: {said}" if said else ""


class _Patience:
    """A wait that is over at a deadline, or raises Interrupted a few seconds after this process was told to stop."""

    def __init__(self, runtime: Runtime, seconds: float) -> None:
        self._sleep = runtime.sleep
        self._deadline = time.monotonic() + seconds
        self._stopped: float | None = None

    def is_over(self) -> bool:
        now = time.monotonic()
        try:
            self._sleep(0)
        except Interrupted:
            self._stopped = now if self._stopped is None else self._stopped
            if now - self._stopped > _LAST_WORDS:
                raise
        return now > self._deadline


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
