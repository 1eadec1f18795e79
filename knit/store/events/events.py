"""The port Events over knit_events. Rows are written by triggers, in the statement that makes them true."""

from __future__ import annotations

from collections.abc import Sequence

from knit.core.events import Event, Severity
from knit.core.model.certificate import CertId
from knit.store.database import Database
from knit.store.queries import queries


class EventLog:
    """Reads what has happened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("events/events")

    def since(self, after: int, *, cert_id: CertId | None = None, most: int = 1000) -> Sequence[Event]:
        """Events with a greater id, oldest first; of one certificate, or of everything."""
        rows = self._database.rows(self._sql["since"], {"after": after, "cert_id": cert_id, "most": most})
        return [Event(**{**row, "severity": Severity(row["severity"])}) for row in rows]

    def newest(self) -> int:
        """The greatest id so far; 0 before the first event."""
        return int(self._database.rows(self._sql["newest"])[0]["id"])
