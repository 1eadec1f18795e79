"""Adoption: rows that other software or a hand has written or changed get what knit keeps about them.

A row that clashes with another, or that cannot be a certificate, is left out of passes with a `last_error` that says
why; it is looked at again in every pass. The work is done in portions, each a short transaction of its own that finds
every row through an index, so its time grows with the rows that are new and with nothing else. A portion of ordinary
rows, as nearly all are, never leaves PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psycopg

from knit.core.adoption import FILE, KEY, NAMES, Claim, Claimant, Entry, claims, clash, judge
from knit.core.model.issuer import UNNAMED
from knit.core.model.keys import KeyType
from knit.core.names import key_of
from knit.core.wanted import ListRules, Wanted, judged
from knit.errors import Misconfigured
from knit.store.connection import Connection
from knit.store.database import Database
from knit.store.portions import SMALLEST_ID
from knit.store.queries import Row, queries
from knit.store.rows import wanted_from
from knit.store.schema import lock_key
from knit.store.texts import Shown

LEFT_OUT = "left out: "
ALIKE = "PostgreSQL takes its names, its key or one of its paths for another certificate's: change one of them"
PORTION = 2000
# Four times a hundred names of the greatest length.
LONGEST_DOMAINS = 100_000

SEPARATOR = "\x1e"

# The planner believes statistics that may be older than the rows: this leaves it no plan but look-ups by index.
BY_INDEX = """
set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off;
set local enable_material = off; set local jit = off
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What became of one portion: the last row that was looked at, None at the end, and how many were left out."""

    last: int | None
    left_out: int


def adopt(database: Database, allowed: ListRules) -> int:
    """Adopt all that is new; give the number of enabled rows left out. One query when nothing is new.

    Of certificates that clash the first is adopted: one that is switched off never stands in the way.
    """
    if not database.rows(queries("list/certs")["any_unseen"])[0]["found"]:
        return 0
    left_out = _all(database, allowed, enabled=True)
    _all(database, allowed, enabled=False)
    return left_out


def _all(database: Database, allowed: ListRules, *, enabled: bool) -> int:
    left_out, last = 0, SMALLEST_ID
    while True:
        done = database.together(partial(_portion, allowed=allowed, after=last, enabled=enabled))
        left_out += done.left_out
        if done.last is None:
            return left_out
        last = done.last


def _portion(connection: Connection, *, allowed: ListRules, after: int, enabled: bool) -> Portion:
    return Adopter(connection, allowed).portion(after, enabled=enabled)


@dataclass(frozen=True, slots=True)
class Adopter:
    """Works inside one transaction on one connection."""

    connection: Connection
    allowed: ListRules

    def portion(self, after: int, *, enabled: bool) -> Portion:
        """Adopt, or leave out, the next rows that are new, by id."""
        self.lock()
        asked = {"after": after, "enabled": enabled, "limit": PORTION}
        return self._ordinary(asked) or self._odd(asked)

    def _ordinary(self, asked: Mapping[str, object]) -> Portion | None:
        """Have PostgreSQL adopt the portion by itself; None, and nothing done, when one of its rows is out of the way.

        All or none: which of two that clash comes first is then for one judgement to say.
        """
        with suppress(psycopg.errors.UniqueViolation), self.connection.transaction() as attempt:
            done = self._execute("adopt_ordinary", {**asked, **self._known}).fetchone()
            assert done is not None
            if not done["count"]:
                return Portion(last=None, left_out=0)
            if done["ordinary"] and not any(map(self.allowed.reserved, done["keys"].split("\n"))):
                return Portion(last=done["last"] if done["count"] == PORTION else None, left_out=0)
            raise psycopg.Rollback(attempt)
        return None

    @property
    def _known(self) -> Mapping[str, object]:
        """What an ordinary row says, if anything."""
        return {"issuers": ["", UNNAMED, *self.allowed.issuers], "key_types": ["", *map(str, KeyType)]}

    def _odd(self, asked: Mapping[str, object]) -> Portion:
        rows = self._execute("unseen", asked).fetchall()
        entries, bad = _sorted(rows, self.allowed)
        verdict = judge(entries, self._holders(claim for entry in entries for claim in claims(entry.wanted)))
        self._leave_out({**bad, **verdict.clashing})
        alike = self._adopt({row["id"]: row for row in rows}, verdict.good)
        left_out = len(rows) - len(verdict.good) + alike
        return Portion(last=rows[-1]["id"] if len(rows) == PORTION else None, left_out=left_out)

    def lock(self) -> None:
        """One writer of the list at a time, so that what was checked still holds when it is written."""
        self._execute("lock_list", {"key": lock_key("list")})
        self.connection.execute(BY_INDEX)

    def clash(self, cert_id: int, wanted: Wanted) -> str | None:
        """Why this entry cannot live beside the others: a sentence that names the other certificate."""
        claimed = claims(wanted)
        others = (holder for holder in self._holders(claimed) if holder.id != cert_id)
        return clash(claimed, {claim: holder for holder in others for claim in holder.claims})

    def _holders(self, claimed: Iterable[Claim]) -> Sequence[Claimant]:
        """The certificates that have any of these already."""
        asked: dict[str, list[str]] = {NAMES: [], KEY: [], FILE: []}
        for kind, what in claimed:
            asked[kind].append(what)
        found = self._execute("holders", {kind: _joined(texts) for kind, texts in asked.items()})
        return [_holder(row) for row in found.fetchall() if row["names_key"] is not None]

    def _leave_out(self, bad: Mapping[int, str]) -> None:
        if bad:
            errors = [Shown(f"{LEFT_OUT}{why}") for why in bad.values()]
            self._execute("leave_out", {"ids": list(bad), "errors": errors})

    def _adopt(self, rows: Mapping[int, Row], good: Mapping[int, Wanted]) -> int:
        """Adopt them all; where an index takes one for another, each by itself. Gives how many were left out for that.

        The indexes hold numbers made from the texts, and two texts may have the same one.
        """
        changed = [i for i, wanted in good.items() if rows[i]["names_key"] not in (None, key_of(wanted.names))]
        if changed:
            # Two of them may have changed names with each other.
            self._execute("unname", {"ids": changed})
        if not good or self._written(rows, good):
            return 0
        alike = [i for i, wanted in good.items() if not self._written(rows, {i: wanted})]
        self._leave_out(dict.fromkeys(alike, ALIKE))
        return len(alike)

    def _written(self, rows: Mapping[int, Row], good: Mapping[int, Wanted]) -> bool:
        names = _joined(",".join(wanted.names) for wanted in good.values())
        keys = _joined(key_of(wanted.names) for wanted in good.values())
        seen = _joined(rows[i]["wanted"] for i in good)
        with suppress(psycopg.errors.UniqueViolation), self.connection.transaction():
            self._execute("adopt", {"ids": list(good), "names": names, "keys": keys, "seen": seen})
            return True
        return False

    def _execute(self, name: str, parameters: Mapping[str, object] | None = None) -> psycopg.Cursor[Row]:
        return self.connection.execute(queries("list/certs")[name], parameters)


def _sorted(rows: Sequence[Row], allowed: ListRules) -> tuple[list[Entry], dict[int, str]]:
    """The rows that are good by themselves, and what is wrong with the others."""
    good: list[Entry] = []
    bad: dict[int, str] = {}
    for row in rows:
        try:
            good.append(_entry(row, allowed))
        except Misconfigured as e:
            bad[row["id"]] = str(e)
    return good, bad


def _entry(row: Row, allowed: ListRules) -> Entry:
    if row["ahead"]:
        message = "requested_at is in the future: a request for renewal is made with the present time"
        raise Misconfigured(message)
    if len(row["domains"]) > LONGEST_DOMAINS:
        message = f"domains are longer than {LONGEST_DOMAINS} characters"
        raise Misconfigured(message)
    if SEPARATOR in row["domains"]:
        # The parser of names takes it for white space.
        message = "domains hold a control character"
        raise Misconfigured(message)
    standing = wanted_from(row)
    wanted = judged(standing, allowed, standing=standing, issued=row["issued"])
    return Entry(id=row["id"], domains=row["domains"], wanted=wanted)


def _joined(texts: Iterable[str]) -> str:
    """One text that PostgreSQL splits again; what is good by itself holds no control characters."""
    return SEPARATOR.join(texts)


def _holder(row: Row) -> Claimant:
    keys = {row["valkey_key"], row["published"]} - {None}
    files = ((FILE, row["cert_file"]), (FILE, row["key_file"]))
    claimed = ((NAMES, row["names_key"]), *files, *((KEY, key) for key in keys))
    return Claimant(id=row["id"], domains=row["domains"], claims=claimed)
