"""Adoption: rows that other software or a hand has written or changed get what knit keeps about them.

A row that clashes with another, or whose names are no host names, is left out of passes with a `last_error` that
says why; it is looked at again in every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from knit.core.names import key_of, split
from knit.errors import Misconfigured
from knit.store.database import Connection
from knit.store.queries import Row, queries
from knit.store.rows import key_type
from knit.store.schema import lock_key

LEFT_OUT = "left out: "

Names = tuple[str, ...]

Reserved = Callable[[str], bool]
"""Says whether a certificate may not be published under this key, because knit uses it itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopter:
    """Works inside one transaction on one connection."""

    connection: Connection
    reserved: Reserved

    def run(self) -> int:
        """Adopt what is new; give the number of enabled rows left out. One query when nothing is new."""
        if not self._unseen():
            return 0
        self.lock()
        rows = self._unseen()
        good, bad = self._sorted(rows)
        if good and not self._all_at_once(good):
            bad |= self._one_by_one(rows, good)
        for row_id, why in bad.items():
            self._execute("leave_out", {"id": row_id, "error": f"{LEFT_OUT}{why}"})
        return sum(row["enabled"] for row in rows if row["id"] in bad)

    def lock(self) -> None:
        """One writer of the list at a time, so that what was checked still holds when it is written."""
        self._execute("lock_list", {"key": lock_key("list")})

    def clash(self, row: Mapping[str, object]) -> str | None:
        """Why this row cannot live beside the others: a sentence that names the other certificate."""
        found = self._execute("clash", row).fetchone()
        if found is None:
            return None
        other = f"certificate {found['id']} ({found['domains']})"
        return f"{other} has the same names" if found["same_names"] else f"{found['thing']} belongs to {other}"

    def _unseen(self) -> Sequence[Row]:
        return self._execute("unseen").fetchall()

    def _sorted(self, rows: Sequence[Row]) -> tuple[dict[int, Names], dict[int, str]]:
        """Names of the rows that are good by themselves, and what is wrong with the others."""
        good: dict[int, Names] = {}
        bad: dict[int, str] = {}
        for row in rows:
            try:
                check_place(row, self.reserved)
                key_type(row["key_type"])
                good[row["id"]] = split(row["domains"])
            except Misconfigured as e:
                bad[row["id"]] = str(e)
        return good, bad

    def _all_at_once(self, good: Mapping[int, Names]) -> bool:
        """False when there is a clash among them or with others; nothing is changed then."""
        try:
            with self.connection.transaction() as savepoint:
                self._adopt(good)
                if self._execute("crossed").fetchone() is not None:
                    raise psycopg.Rollback(savepoint)
                return True
        except psycopg.errors.UniqueViolation:
            pass
        return False

    def _one_by_one(self, rows: Sequence[Row], good: Mapping[int, Names]) -> dict[int, str]:
        """Of rows that clash with each other the oldest is adopted; gives what is wrong with the rest."""
        bad = {}
        for row in rows:
            if row["id"] not in good:
                continue
            why = self.clash({**row, "names_key": key_of(good[row["id"]])})
            if why is None:
                self._adopt({row["id"]: good[row["id"]]})
            else:
                bad[row["id"]] = why
                self._execute("leave_out", {"id": row["id"], "error": f"{LEFT_OUT}{why}"})
        return bad

    def _adopt(self, good: Mapping[int, Names]) -> None:
        names = [",".join(each) for each in good.values()]
        keys = [key_of(each) for each in good.values()]
        self._execute("adopt", {"ids": list(good), "names": names, "keys": keys})

    def _execute(self, name: str, parameters: Mapping[str, object] | None = None) -> psycopg.Cursor[Row]:
        return self.connection.execute(queries("certs")[name], parameters)


def check_place(row: Mapping[str, str], reserved: Reserved) -> None:
    """Raise Misconfigured when key or paths cannot be used whatever the other certificates are."""
    for field in ("valkey_key", "cert_path", "key_path"):
        if not row[field].isprintable() or not row[field]:
            message = f"{field} {row[field]!r} must be printable text"
            raise Misconfigured(message)
    if reserved(row["valkey_key"]):
        message = f"valkey_key {row['valkey_key']} is used by knit itself"
        raise Misconfigured(message)
    if row["cert_path"] == row["key_path"]:
        message = f"cert_path and key_path are the same file, {row['cert_path']}"
        raise Misconfigured(message)
