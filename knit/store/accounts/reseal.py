"""Account keys that lie in clear, or under older keys, are sealed under the first key; no clear copy stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from knit.core.model.account import Sealed
from knit.core.model.issuer import UNNAMED
from knit.errors import Busy, CredentialsRejected, Misconfigured, Transient
from knit.store.accounts.accounts import ORIGINAL
from knit.store.accounts.sealing import AccountRef, Seal
from knit.store.database import Database
from knit.store.queries import Row, queries

TABLES: Final = {True: "knit_acme_account", False: "knit_accounts"}


@dataclass(frozen=True, slots=True)
class Resealing:
    """Over both tables that hold account keys."""

    database: Database
    seal: Seal

    def run(self, issuer: str | None, *, keep_original: bool) -> tuple[Sealed, ...]:
        """Those of one issuer, or all; gives what lies how from now on.

        `keep_original`: what lies in the table of the Go knit stays as that one can read it. Raises Misconfigured
        without a key to seal with, and for what cannot be opened: then the others are sealed all the same.
        """
        if not self.seal.keys:
            raise Misconfigured("KNIT_SECRET_KEY is not set: there is no key to seal with")
        found, faults = [], []
        for row in self._rows(issuer):
            try:
                found.append(self._sealed(row, keep_original=keep_original))
            except Misconfigured as error:
                faults.append(str(error))
        if faults:
            raise Misconfigured("; ".join(faults))
        return tuple(found)

    def purge(self) -> tuple[str, ...]:
        """Have PostgreSQL write both tables anew, without the old versions of rows; gives those where it did not.

        It cannot for whoever does not own the table, nor while a transaction is open that holds on to it.
        """
        return tuple(table for table in TABLES.values() if not self._rewritten(table))

    def keepers(self) -> tuple[str, ...]:
        """What keeps copies from before for as long as it is there, by kind and name."""
        return tuple(str(row["name"]) for row in self.database.rows(queries("accounts/reseal")["keepers"]))

    def _rows(self, issuer: str | None) -> Iterator[Row]:
        sql = queries("accounts/reseal")
        yield from self.database.rows(sql["all"], {"issuer": issuer})
        if issuer in (None, UNNAMED):
            yield from self.database.rows(sql["original"], {"issuer": UNNAMED})

    def _sealed(self, row: Row, *, keep_original: bool) -> Sealed:
        original = row["directory"] == ""
        ref = ORIGINAL if original else AccountRef(str(row["issuer"]), str(row["directory"]))
        kept, result = [one for one in (row["private_key"], row["next_key"]) if one is not None], "sealed already"
        keys = [self.seal.open(one, ref) for one in kept]
        if original and keep_original:
            result = "left as it was"
        elif not all(map(self.seal.is_current, kept)):
            statement = queries("accounts/reseal")["seal_original" if original else "seal"]
            after, next_after = ([self.seal.close(key, ref) for key in keys] + [None])[:2]
            if self.database.write(statement, {**row, "after": after, "next_after": next_after}) == 0:
                raise Busy(f"the account key of issuer {ref.issuer} was changed meanwhile: run it again")
            result = "sealed"
        return Sealed(issuer=ref.issuer, directory=ref.directory, result=result, table=TABLES[original])

    def _rewritten(self, table: str) -> bool:
        """Whether the table was rewritten: its file is another then.

        PostgreSQL skips a table of somebody else with a warning only.
        """
        sql = queries("accounts/reseal")
        before = self.database.row(sql["file"], {"table": table})
        try:
            self.database.write(sql[f"rewrite_{table}"])
        except (CredentialsRejected, Transient):
            return False
        held = self.database.row(sql["holding"]) is not None
        return not held and self.database.row(sql["file"], {"table": table}) != before
