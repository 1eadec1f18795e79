"""Asks the process of `knit.node.inspector_child` about pairs; it lives as long as one pass needs it."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import knit
from knit.core.digest import pair_digest
from knit.core.model.certificate import Bundle
from knit.core.outputs import Seal
from knit.core.placement import PairFacts
from knit.errors import BundleMismatch, KnitError, Transient

SECONDS = 30.0
"""To start, or to answer: the process itself stops long before, unless this machine has no time for it."""

DYING = 1.0
"""Seconds from the end of its answers to its own end."""

REMEMBERED = 1000
"""Verdicts kept, so that a pair which is not installed is not looked into at every poll."""

_TOO_LONG = "the certificate or its key takes too long to check"
_DEADLY = "the process that checks certificates dies of it"


class Inspector:
    """Starts the process at the first question. What it found is remembered by the pair's hash."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._verdicts: dict[str, PairFacts | BundleMismatch] = {}
        self._trouble: Transient | None = None

    def facts(self, pair: Bundle) -> PairFacts:
        """What the pair says. Raises BundleMismatch when it is not a pair, Transient when nobody could look."""
        digest = pair_digest(pair.fullchain, pair.privkey)
        verdict = self._verdicts.get(digest)
        if verdict is None:
            verdict = self._verdicts[digest] = self._judged(pair)
            if len(self._verdicts) > REMEMBERED:
                del self._verdicts[next(iter(self._verdicts))]
        if isinstance(verdict, KnitError):
            raise verdict.with_traceback(None)
        return verdict

    def seal(self, pair: Bundle, seal: Seal) -> bytes:
        """A key store that holds this pair. Raises BundleMismatch for no pair, Transient when nobody could make it."""
        reply = self._answer(_of(pair) | _closed_by(seal))
        if "error" in reply:
            raise BundleMismatch(reply["error"])
        return base64.b64decode(reply["store"])

    def opens(self, store: bytes, seal: Seal) -> bool:
        """Whether these bytes are a key store that this seal's password opens. Raises Transient as `seal`."""
        reply = self._answer({"store": base64.b64encode(store).decode()} | _closed_by(seal))
        return bool(reply.get("opens"))

    def close(self) -> None:
        """End the process, if it was started."""
        self._trouble = None
        self._end()

    def _judged(self, pair: Bundle) -> PairFacts | BundleMismatch:
        reply = self._answer(_of(pair))
        if "error" in reply:
            return BundleMismatch(reply["error"])
        return PairFacts(
            names=frozenset(reply["names"]),
            primary=reply["primary"],
            not_before=datetime.fromisoformat(reply["not_before"]),
            not_after=datetime.fromisoformat(reply["not_after"]),
            self_issued=bool(reply["self_issued"]),
            serial=reply["serial"],
            fingerprint=reply["fingerprint"],
            key_kind=reply["key_kind"],
        )

    def _answer(self, question: Mapping[str, str]) -> dict[str, Any]:
        return self._ask(question) or self._ask(question) or {"error": _DEADLY}

    def _ask(self, question: Mapping[str, str]) -> dict[str, Any] | None:
        """The answer; None when the process died of the question. Raises Transient for what is not the pair's fault."""
        channel = self._running()
        try:
            channel.sendall(json.dumps(question).encode() + b"\n")
            return self._heard(channel)
        except TimeoutError:
            raise self._given_up(f"gave no answer within {SECONDS:g}s") from None
        except OSError:
            return self._died()

    def _died(self) -> dict[str, Any] | None:
        code = self._end(DYING)
        if code == -signal.SIGKILL:
            raise self._given_up("was killed, perhaps for want of memory")
        return {"error": _TOO_LONG} if code == -signal.SIGPROF else None

    def _running(self) -> socket.socket:
        if self._trouble is not None:
            raise self._trouble
        if self._channel is None:
            try:
                self._channel = self._started()
                ready = self._heard(self._channel)
            except TimeoutError:
                raise self._given_up(f"did not start within {SECONDS:g}s") from None
            except OSError as error:
                raise self._given_up(f"cannot be started: {error.strerror or 'it ends at once'}") from None
            if "unusable" in ready:
                raise self._given_up(f"cannot work: {ready['unusable']}")
        return self._channel

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(SECONDS)
        with theirs, ExitStack() as undo:
            undo.callback(ours.close)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "knit.node.inspector_child"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                # What it has to say, it says in its answers.
                stderr=subprocess.DEVNULL,
                # `-m` looks in the current folder first: let that be where this very knit lives.
                cwd=Path(knit.__file__).parent.parent,
                env=dict(self._environment),
                start_new_session=True,
            )
            undo.pop_all()
        return ours

    @staticmethod
    def _heard(channel: socket.socket) -> dict[str, Any]:
        line = bytearray()
        while not line.endswith(b"\n"):
            piece = channel.recv(65536)
            if not piece:
                raise ConnectionError
            line += piece
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _given_up(self, why: str) -> Transient:
        """Nobody is asked again in this pass: it would only take as long again."""
        self._end()
        self._trouble = Transient(f"the process that checks certificates {why}")
        return self._trouble

    def _end(self, patience: float = 0) -> int | None:
        """How it ended, where it does so within these seconds of its own accord."""
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is None:
            return None
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None


def _of(pair: Bundle) -> dict[str, str]:
    # Latin-1 carries any bytes through JSON; whether they are sensible is for the other side to say.
    return {"fullchain": pair.fullchain.decode("latin-1"), "privkey": pair.privkey.decode("latin-1")}


def _closed_by(seal: Seal) -> dict[str, str]:
    return {"format": seal.content, "password": seal.password, "alias": seal.alias}
