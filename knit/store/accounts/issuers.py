"""What PostgreSQL remembers of each issuer."""

from __future__ import annotations

from dataclasses import asdict, replace

from knit.core.issuers import agree, of_host
from knit.core.model.issuer import UNNAMED, Identity, Remembered, Terms
from knit.store.database import Database
from knit.store.queries import queries


class IssuerMemory:
    """The port `IssuerBook` over knit_issuers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("accounts/issuers")

    def recall(self, name: str) -> Identity | None:
        """What this issuer is; None before its first use.

        In a database of the Go knit, the host of the account that it registered stands for it.
        """
        row = self._database.row(self._sql["recall"], {"name": name})
        if row is not None:
            return Identity(**row)
        original = self._of_the_original(name)
        return None if original is None else Identity(original)

    def remember(self, terms: Terms) -> Identity:
        """This issuer is used for the first time; gives what it is from now on, whoever was first."""
        original = self._of_the_original(terms.name)
        first = terms if original is None or agree(original, terms.directory) else replace(terms, directory=original)
        (row,) = self._database.rows(self._sql["remember"], asdict(first))
        return Identity(**row)

    def correct(self, terms: Terms) -> bool:
        """Put this directory in place of one that has failed and never had an account or a certificate; gives whether.

        What never was a CA is nothing to hold on to: a typing error, most likely.
        """
        return self._database.row(self._sql["correct"], asdict(terms)) is not None

    def accept(self, terms: Terms) -> int:
        """From now on its certificates come from here; gives how many enabled ones come from elsewhere."""
        (row,) = self._database.rows(self._sql["accept"], asdict(terms))
        return int(row["elsewhere"])

    def all(self) -> tuple[Remembered, ...]:
        """Those that have been used."""
        return tuple(Remembered(**row) for row in self._database.rows(self._sql["all"]))

    def _of_the_original(self, name: str) -> str | None:
        from knit.store.accounts.accounts import original_host  # Seldom asked.

        host = original_host(self._database) if name == UNNAMED else None
        return None if host is None else of_host(host)
