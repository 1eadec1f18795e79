"""Who is there to work, and what a renewal waits for: what somebody who waits asks every second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from knit.core.model.presence import Roll, Seen
from knit.store.database import Database
from knit.store.queries import Row, queries

if TYPE_CHECKING:
    from knit.core.model.certificate import CertId

PRESENT = 25.0
"""Seconds for which a worker counts as there after it was last heard of."""


class Centre:
    """The port `Centre` over knit_workers, and over what is under way."""

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
