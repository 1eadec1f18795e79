"""When the next pass is due, and who is there to do it, as Postgres knows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from knit.store.database import Database
from knit.store.portions import swept
from knit.store.queries import queries

if TYPE_CHECKING:
    from knit.core.agenda import Agenda

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Agendas:
    """The port `Agendas`, and what the command line says and asks about the centre."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("passes/agenda")

    def look(self, since: datetime | None) -> Agenda:
        """What calls for a pass; of planned instants, the first one after `since`."""
        from knit.core.agenda import Agenda, Errand

        (row,) = self._database.rows(self._sql["look"], {"since": since or LONG_AGO})
        due = {Errand.POLL: row.pop("polls"), Errand.REVOKE: row.pop("revokes"), Errand.COLLECT: row.pop("collects")}
        return Agenda(**row, errands=tuple(errand for errand, is_due in due.items() if is_due))

    def announce(self, interval: timedelta) -> None:
        """A pass has been asked for; the next one comes after this interval at the latest."""
        self._database.write(self._sql["announce"], {"interval": interval})

    def change(self) -> None:
        """Somebody has changed the list: a running centre has a look at it within seconds."""
        self._database.write(self._sql["change"])

    def confirm_mass(self) -> int:
        """See the port."""
        self._database.write(self._sql["confirm_mass"])
        return swept(self._database, self._sql["look_at_held_back"])

    def scheduled(self) -> bool:
        """Whether a scheduler is there."""
        (row,) = self._database.rows(self._sql["scheduled"])
        return bool(row["scheduled"])
