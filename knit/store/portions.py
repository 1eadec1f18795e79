"""What concerns many rows is many short statements: each has a deadline and holds few rows, and what is done stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from knit.store.database import Database

PORTION: Final = 1000
"""Rows of one statement at most."""

SMALLEST_ID: Final = -(2**63)


def swept(database: Database, statement: str, parameters: Mapping[str, object] | None = None) -> int:
    """Run a statement for one portion of rows after the other; gives how many it has changed.

    It changes at most `limit` rows whose id is above `after`, in the order of their ids, and gives `last`, the greatest
    of these ids (null where there is none), and `changed`. What was done stays done when this dies in between: then it
    is begun anew, so the statement must find nothing to do in a row for the second time, or do the same again.
    """
    after, changed = SMALLEST_ID, 0
    while True:
        (row,) = database.rows(statement, {**(parameters or {}), "after": after, "limit": PORTION})
        changed += int(row["changed"])
        if row["last"] is None:
            return changed
        after = row["last"]
