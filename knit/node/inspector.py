"""Asks the process of `knit.node.pairs` about pairs; it lives as long as one pass needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import knit
from knit.core.model import Bundle
from knit.core.placement import Facts
from knit.errors import BundleMismatch, Transient


class Inspector:
    """Starts the process at the first question."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def facts(self, pair: Bundle) -> Facts:
        """What the pair says. Raises BundleMismatch when it is none, Transient when nobody could look."""
        reply = self._ask(pair)
        if "error" in reply:
            raise BundleMismatch(reply["error"])
        return Facts(
            names=frozenset(reply["names"]),
            not_before=datetime.fromisoformat(reply["not_before"]),
            not_after=datetime.fromisoformat(reply["not_after"]),
            self_issued=bool(reply["self_issued"]),
        )

    def close(self) -> None:
        """End the process, if it was started."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, pair: Bundle) -> dict[str, str]:
        # Latin-1 carries any bytes through JSON; whether they are sensible is for the other side to say.
        question = {"fullchain": pair.fullchain.decode("latin-1"), "privkey": pair.privkey.decode("latin-1")}
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            self.close()
            raise Transient("the process that checks certificates ended without an answer")
        reply: dict[str, str] = json.loads(line)
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "knit.node.pairs"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # `-m` looks in the current folder first: let that be where this very knit lives.
                    cwd=Path(knit.__file__).parent.parent,
                    env=dict(self._environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise Transient(f"the process that checks certificates cannot be started: {error.strerror}") from None
        return self._process
