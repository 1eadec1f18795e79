"""A node's own report in Valkey: one hash, which its user may write and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from knit.core.report import HEAD
from knit.valkey.dial import Endpoint
from knit.valkey.layout import Layout
from knit.valkey.replies import ServerError, number
from knit.valkey.site import Site
from knit.valkey.wire import Command, Patience, Wire

PATIENCE = 2.0
"""Seconds to connect, and for each answer."""

WHOLE = 3.0
"""Seconds for all answers of one report together."""


class ReportWriter:
    """Writes fields of the report of the node with this name. One thread only."""

    def __init__(self, site: Site, layout: Layout, name: str) -> None:
        self._site = site
        self._key = layout.report(name)
        self._wire = Wire(Endpoint.of(site).impatient(PATIENCE))
        self._patience = Patience(WHOLE)

    def begin(self, *, whole: bool) -> None:
        """A report begins. With `whole`, what may be there is removed. Raises as `write` does."""
        self._patience = Patience(WHOLE)
        if whole:
            self._do([("UNLINK", self._key)])

    def write(self, fields: Mapping[str, bytes], lasts: timedelta) -> bool:
        """Set these fields; the report is gone after this time unless another follows. Whether its head was new.

        Raises Unreachable, Refused, CredentialsRejected.
        """
        words = [word for name, raw in fields.items() for word in (name, raw)]
        expiry = ("PEXPIRE", self._key, str(int(lasts.total_seconds() * 1000)))
        added, _ = self._do([("HSET", self._key, *words), expiry])
        return HEAD in fields and added > 0

    def close(self) -> None:
        """Give the connection up; the next report opens a new one."""
        self._wire.close()

    def _do(self, commands: list[Command]) -> list[int]:
        answers = self._wire.ask(commands, number, self._patience)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ServerError):
                raise self._site.answered(answer.code, str(command[0]).lower())
        return [answer for answer in answers if isinstance(answer, int)]


def rule(layout: Layout, name: str) -> str:
    """What Valkey lets the user of this node's reports do: the words of `ACL SETUSER` after its name and password."""
    commands = "+hello +auth +client|setinfo +ping +hset +pexpire +unlink"
    return f"resetkeys ~{layout.report(name)} resetchannels -@all {commands}"
