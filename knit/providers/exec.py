"""An external program that sets and removes the record, called the way lego calls it.

Default mode: `program present|cleanup <fqdn>. <value>`. EXEC_MODE=RAW: `program present|cleanup -- <domain> <token>
<key authorization>` (https://go-acme.github.io/lego/dns/exec/).
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from typing import BinaryIO

from knit.core.model.challenge import Record
from knit.errors import Interrupted, Misconfigured, Refused, Unreachable
from knit.ports.solving import Paced, ReplacesWhole, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.scratch import unnamed

_PATH = Variable(names=("EXEC_PATH",), help="path of the program")
_MODE = Variable(names=("EXEC_MODE",), help="RAW: pass domain, token and key authorization instead of name and value")
_KNOBS = knobs("EXEC", timeout=60, interval=2, ttl=None, pause=60)
_LIMIT = Variable(
    names=("EXEC_TIMEOUT",), help="seconds one run of the program may take; 0: as long as it likes", default="600"
)
_SHOWN = 500
_GRACE = 2.0
_STEP = 0.1
_LAST_WORDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, with which environment; `raw` passes lego's raw arguments."""

    path: str
    environment: dict[str, str] = field(repr=False)
    raw: bool = False


class Exec(Paced, ReplacesWhole):
    """Runs the program in a process group of its own, which is killed as a whole at the deadline (seconds)."""

    def __init__(self, program: Program, timing: Timing, runtime: Runtime, *, deadline: float) -> None:
        super().__init__(timing)
        self._program = program
        self._path = program.path
        self._runtime = runtime
        self._deadline = deadline

    def replaces(self, record: Record) -> str:
        """A program may well read, change and write a whole zone file: two of it never work on one zone."""
        return record.zone

    def present(self, record: Record) -> None:
        """Run the program's `present`."""
        self._run("present", record)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Run the program's `cleanup`."""
        self._run("cleanup", record)

    def _arguments(self, record: Record) -> list[str]:
        challenge = record.challenge
        if self._program.raw:
            return ["--", challenge.identifier, challenge.token, challenge.key_authorization]
        return [f"{record.fqdn}.", record.value]

    def _run(self, action: str, record: Record) -> None:
        # A file, not a pipe: a grandchild that keeps a pipe open would make us wait for it.
        with unnamed("knit-exec") as output:
            process = self._start([self._path, action, *self._arguments(record)], output)
            try:
                code = self._wait(process)
            finally:
                _end_group(process)
            said = _tail(output)
        if code is None:
            raise Unreachable(f"exec: {self._path} {action} was killed after {self._deadline:.0f} s; it said: {said}")
        if code != 0:
            raise Refused(f"exec: {self._path} {action} {record.fqdn} ended with status {code}; it said: {said}")

    def _start(self, command: list[str], output: BinaryIO) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=self._program.environment,
            )
        except OSError as e:
            raise Misconfigured(f"EXEC_PATH: cannot run {self._path}: {e.strerror}") from None

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The exit status, or None at the deadline.

        When this process is told to stop, the program gets a few seconds more: killing a cleanup half-way leaves a
        record behind. Raises Interrupted after that.
        """
        waited, stopped = 0.0, None
        while waited < self._deadline:
            try:
                return process.wait(_STEP)
            except subprocess.TimeoutExpired:
                waited += _STEP
            try:
                self._runtime.sleep(0)
            except Interrupted:
                stopped = waited if stopped is None else stopped
                if waited - stopped > _LAST_WORDS:
                    raise
        return None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever the program has left running."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _tail(output: BinaryIO) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _SHOWN))
    said = output.read(_SHOWN).decode("utf-8", "replace")
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", said).strip() or "nothing"


def _build(values: Values, runtime: Runtime) -> Exec:
    path = values.text(_PATH)
    mode = (values.get(_MODE) or "").upper()
    if mode not in {"", "RAW"}:
        raise Misconfigured(f"EXEC_MODE must be RAW or unset, not {mode!r}")
    if "/" in path and not os.access(path, os.X_OK):
        raise Misconfigured(f"EXEC_PATH: {path} is not an executable file")
    program = Program(path=path, environment=values.for_program(), raw=mode == "RAW")
    deadline = float(values.integer(_LIMIT)) or math.inf
    return Exec(program, _KNOBS.timing(values), runtime, deadline=deadline)


PROVIDER = Provider(
    code="exec",
    title="External program",
    url="https://go-acme.github.io/lego/dns/exec/",
    required=((_PATH,),),
    variables=(_MODE, _LIMIT),
    knobs=_KNOBS,
    build=_build,
    rights="whatever the program needs",
    note="The program is called with `present` or `cleanup`, the record's name (with a final dot) and the value; under "
    "EXEC_MODE=RAW with `present` or `cleanup`, `--`, domain, token and key authorization. It ends with 0 once that is "
    "done. A certificate's names are proved one after the other, a minute apart unless EXEC_SEQUENCE_INTERVAL says "
    "otherwise, as lego does it, and only one program at a time works on a zone. lego has no EXEC_TIMEOUT.",
)
