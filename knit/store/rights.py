"""What our user may do in PostgreSQL: asked before something is ordered that could not be recorded afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from knit.errors import NotPermitted
from knit.store.database import Database
from knit.store.faults import RIGHTS
from knit.store.queries import Row, queries


class Rights:
    """Asks once; again after something was denied, since rights are given and taken while a process runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._enough = False

    def check(self) -> None:
        """Raise NotPermitted with what is lacking."""
        if self._enough:
            return
        lacking = self._database.rows(queries("rights")["lacking"])
        if lacking:
            message = f"PostgreSQL: our user may not {_told(lacking)}; {RIGHTS}"
            raise NotPermitted(message)
        self._enough = True

    def doubt(self) -> None:
        """Ask again at the next check, for something was denied."""
        self._enough = False


def _told(lacking: Sequence[Row]) -> str:
    """INSERT, UPDATE on one table; SELECT on another."""
    tables = groupby(lacking, key=lambda row: str(row["what"]))
    return "; ".join(f"{', '.join(row['lacking'] for row in rows)} on {table}" for table, rows in tables)
