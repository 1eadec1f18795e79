"""Adoption: rows that other software or a hand has written or changed get what knit keeps about them.

A row that clashes with another, or whose names are no host names, is left out of passes with a `last_error` that
says why; it is looked at again in every pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from knit.core.names import key_of
from knit.core.placement import spelled
from knit.core.wanted import Reserved, Wanted, judged
from knit.errors import Misconfigured
from knit.store.database import Connection
from knit.store.queries import Row, queries
from knit.store.rows import wanted_from
from knit.store.schema import lock_key

LEFT_OUT = "left out: "


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

    def clash(self, cert_id: int, wanted: Wanted) -> str | None:
        """Why this entry cannot live beside the others: a sentence that names the other certificate."""
        files = {"cert_file": spelled(wanted.cert_path), "key_file": spelled(wanted.key_path)}
        claims = {"names_key": key_of(wanted.names), "valkey_key": wanted.valkey_key, **files}
        found = self._execute("clash", {"id": cert_id, **claims}).fetchone()
        if found is None:
            return None
        other = f"certificate {found['id']} ({found['domains']})"
        return f"{other} has the same names" if found["same_names"] else f"{found['thing']} belongs to {other}"

    def _unseen(self) -> Sequence[Row]:
        return self._execute("unseen").fetchall()

    def _sorted(self, rows: Sequence[Row]) -> tuple[dict[int, Wanted], dict[int, str]]:
        """The rows that are good by themselves, and what is wrong with the others."""
        good: dict[int, Wanted] = {}
        bad: dict[int, str] = {}
        for row in rows:
            try:
                wanted = wanted_from(row)
                good[row["id"]] = judged(wanted, self.reserved, standing=wanted)
            except Misconfigured as e:
                bad[row["id"]] = str(e)
        return good, bad

    def _all_at_once(self, good: Mapping[int, Wanted]) -> bool:
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

    def _one_by_one(self, rows: Sequence[Row], good: Mapping[int, Wanted]) -> dict[int, str]:
        """Of rows that clash with each other the oldest is adopted; gives what is wrong with the rest."""
        bad = {}
        for row in rows:
            if row["id"] not in good:
                continue
            why = self.clash(row["id"], good[row["id"]])
            if why is None:
                self._adopt({row["id"]: good[row["id"]]})
            else:
                bad[row["id"]] = why
                self._execute("leave_out", {"id": row["id"], "error": f"{LEFT_OUT}{why}"})
        return bad

    def _adopt(self, good: Mapping[int, Wanted]) -> None:
        names = [",".join(each.names) for each in good.values()]
        keys = [key_of(each.names) for each in good.values()]
        self._execute("adopt", {"ids": list(good), "names": names, "keys": keys})

    def _execute(self, name: str, parameters: Mapping[str, object] | None = None) -> psycopg.Cursor[Row]:
        return self.connection.execute(queries("certs")[name], parameters)
