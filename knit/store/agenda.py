"""When the next pass is due, and who is there to do it, as Postgres knows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from knit.store.database import Database
from knit.store.queries import queries

if TYPE_CHECKING:
    from knit.core.agenda import Agenda, Centre

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
SILENCE = timedelta(seconds=45)
"""A worker process that has not been heard of for so long is taken for dead."""


class Agendas:
    """The port `Agendas`, and what the command line says and asks about the centre."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("agenda")

    def look(self, since: datetime | None) -> Agenda:
        """What calls for a pass; of planned instants, the first one after `since`."""
        from knit.core.agenda import Agenda

        (row,) = self._database.rows(self._sql["look"], {"since": since or LONG_AGO})
        return Agenda(**row)

    def announce(self, interval: timedelta) -> None:
        """A pass has been asked for; the next one comes after this interval at the latest."""
        self._database.write(self._sql["announce"], {"interval": interval})

    def change(self) -> None:
        """Somebody has changed the list: a running centre has a look at it within seconds."""
        self._database.write(self._sql["change"])

    def centre(self) -> Centre:
        """Who is there."""
        from knit.core.agenda import Centre

        (row,) = self._database.rows(self._sql["centre"], {"silence": SILENCE})
        return Centre(**row)

    def here(self, name: str, queues: str, trouble: str | None) -> None:
        """This worker process works on these queues, or would if it were not for this trouble."""
        self._database.write(self._sql["here"], {"name": name, "queues": queues, "trouble": trouble})

    def left(self, name: str) -> None:
        """This worker process ends."""
        self._database.write(self._sql["left"], {"name": name})
