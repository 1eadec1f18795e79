"""Asks processes of `knit.node.probe_child` what servers show; they live until enough was looked at."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import knit
from knit.core.model.places import Probe
from knit.errors import Transient
from knit.ports.probing import KeyKind, Served

SECONDS = 10.0
"""For everything that a look needs of a server."""

STARTING = 20.0
"""Seconds more for a process that starts; it takes a tenth of one, unless this machine has no time for it."""

GRACE = 2.0
"""Seconds more for an answer: only a name's resolution does not know when its time is over."""

SIGNATURES: Final[Mapping[KeyKind, str]] = {
    KeyKind.EC: "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ECDSA+SHA1",
    KeyKind.RSA: "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512:RSA+SHA1",
}
"""What a client takes decides which of its certificates a server shows (RFC 8446 section 4.4.2.2)."""

CONFIGURATION = Path(__file__).with_name("probe.cnf")


class Prober:
    """One process for what is shown to everybody, and one for each kind of key, if a server has several."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._lookers: dict[KeyKind | None, _Looker] = {}

    def served(self, probe: Probe, *, server_name: str | None, key_kind: KeyKind | None = None) -> Served:
        """What is shown. Raises Transient where nothing can be seen."""
        until = time.monotonic() + SECONDS
        seen = self._look(None, probe, server_name, SECONDS)
        if key_kind is None or seen["key_kind"] == key_kind:
            return _served(seen)
        try:
            return _served(self._look(key_kind, probe, server_name, max(until - time.monotonic(), 1)))
        except Transient:
            return _served(seen)

    def close(self) -> None:
        """End the processes."""
        while self._lookers:
            self._lookers.popitem()[1].close()

    def _look(self, kind: KeyKind | None, probe: Probe, server_name: str | None, seconds: float) -> dict[str, Any]:
        host, _, port = probe.connect.rpartition(":")
        question = {
            "host": host.strip("[]"),
            "port": int(port),
            "starttls": probe.starttls,
            "server_name": server_name,
            "seconds": seconds,
        }
        looker = self._lookers.pop(kind, None) or _Looker({**self._environment, **_wanting(kind)})
        with ExitStack() as undo:
            undo.callback(looker.close)
            reply = looker.ask(question, probe.connect)
            undo.pop_all()
        self._lookers[kind] = looker
        if "error" in reply:
            raise Transient(reply["error"])
        return reply


def _served(reply: Mapping[str, Any]) -> Served:
    return Served(
        fingerprint=reply["fingerprint"],
        serial=reply["serial"],
        not_after=datetime.fromisoformat(reply["not_after"]),
        address=reply["address"],
    )


def _wanting(kind: KeyKind | None) -> dict[str, str]:
    if kind is None:
        return {}
    return {"OPENSSL_CONF": str(CONFIGURATION), "SIGNATURE_ALGORITHMS": SIGNATURES[kind]}


class _Looker:
    """One such process. After an error there is nothing more to be had of it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._late = STARTING
        ours, theirs = socket.socketpair()
        self._channel = ours
        with theirs, ExitStack() as undo:
            undo.callback(ours.close)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "knit.node.probe_child"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    # What it has to say, it says in its answers.
                    stderr=subprocess.DEVNULL,
                    # `-m` looks in the current folder first: let that be where this very knit lives.
                    cwd=Path(knit.__file__).parent.parent,
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise Transient(f"the process that looks at servers cannot be started: {error.strerror}") from None
            undo.pop_all()

    def ask(self, question: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The answer. Raises Transient."""
        seconds = question["seconds"] + GRACE + self._late
        self._late = 0.0
        self._channel.settimeout(seconds)
        try:
            self._channel.sendall(json.dumps(question).encode() + b"\n")
            reply: dict[str, Any] = json.loads(self._line())
        except TimeoutError:
            raise Transient(f"{where} showed no certificate within {seconds:g}s") from None
        except (OSError, ValueError):
            raise Transient(f"the process that looked at {where} died of it") from None
        return reply

    def close(self) -> None:
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def _line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            piece = self._channel.recv(65536)
            if not piece:
                raise ConnectionError
            line += piece
        return bytes(line)
