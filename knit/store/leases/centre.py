"""Who is there to work, and what a renewal waits for: what somebody who waits asks every second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from knit.store.database import Database
from knit.store.queries import Row, queries

if TYPE_CHECKING:
    from knit.core.model.certificate import CertId

PRESENT = 25.0
"""Seconds for which a worker counts as there after it was last heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Who is there. `renewing` and `publishing` count worker processes on the queue's two sides.

    `alone`: a centre that works without a queue. `trouble` is what is in some worker's way.
    """

    renewing: int
    publishing: int
    alone: bool
    scheduled: bool
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Where one certificate is. `step`, `error`, `error_class` and `retry_at` are its open attempt's.

    `held`: a worker is on it now. `proving` are the names whose TXT values are set; `validating`: the CA has been told
    so. `paused_until`: its CA has asked to be left alone, in the words `said`. `looked_at`: a worker last found it not
    due.
    """

    id: CertId
    domains: str
    held: bool
    step: str | None = None
    error: str | None = None
    error_class: str | None = None
    retry_at: datetime | None = None
    proving: tuple[str, ...] = ()
    validating: bool = False
    paused_until: datetime | None = None
    said: str | None = None
    looked_at: datetime | None = None


class Centre:
    """Over knit_workers, and over what is under way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("leases/centre")

    def present(self, name: str, queues: Sequence[str], *, alone: bool, trouble: str | None) -> None:
        """This worker process is there."""
        told = {"name": name, "queues": ",".join(queues), "alone": alone, "trouble": trouble}
        self._database.write(self._sql["present"], told)

    def part(self, name: str) -> None:
        """It is not any more."""
        self._database.write(self._sql["part"], {"name": name})

    def roll(self) -> Roll:
        """Who is there now."""
        (row,) = self._database.rows(self._sql["roll"], {"present": PRESENT})
        return Roll(**row)

    def seen(self, cert_id: CertId) -> Seen | None:
        """This certificate; None once it is removed."""
        row = self._database.row(self._sql["seen"], {"id": cert_id})
        return None if row is None else _seen(row)

    def under_way(self) -> Sequence[Seen]:
        """Every certificate with an open attempt."""
        return tuple(_seen(row) for row in self._database.rows(self._sql["seen"], {"id": None}))


def _seen(row: Row) -> Seen:
    facts: dict[str, Any] = {**row, "proving": tuple(row["proving"])}
    return Seen(**facts)
