"""What PostgreSQL remembers of each issuer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from knit.core.issuers import agree, of_host
from knit.store.database import Database
from knit.store.queries import queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One issuer, and since when it has been this one."""

    name: str
    kind: str
    directory: str
    since: datetime


class IssuerMemory:
    """The port over knit_issuers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("issuers")

    def recall(self, name: str) -> str | None:
        """The directory of this issuer; None before its first use.

        In a database of the Go knit, the host of the account that it registered stands for it.
        """
        row = self._database.row(self._sql["recall"], {"name": name})
        return self._of_the_original(name) if row is None else str(row["directory"])

    def remember(self, name: str, directory: str) -> str:
        """This issuer is used for the first time; gives what it is from now on, whoever was first."""
        original = self._of_the_original(name)
        first = directory if original is None or agree(original, directory) else original
        return str(self._database.rows(self._sql["remember"], {"name": name, "directory": first})[0]["directory"])

    def corrected(self, name: str, directory: str) -> bool:
        """Whether this directory now stands instead of one that has failed and never had an account or a certificate.

        What never was a CA is nothing to hold on to: a typing error, most likely.
        """
        return self._database.row(self._sql["correct"], {"name": name, "directory": directory}) is not None

    def accept(self, name: str, directory: str) -> int:
        """From now on its certificates come from here; gives how many enabled ones come from elsewhere."""
        return int(self._database.rows(self._sql["accept"], {"name": name, "directory": directory})[0]["elsewhere"])

    def all(self) -> tuple[Remembered, ...]:
        """Those that have been used."""
        return tuple(Remembered(**row) for row in self._database.rows(self._sql["all"]))

    def _of_the_original(self, name: str) -> str | None:
        from knit.store.accounts import ISSUER, Accounts  # It needs the model, and is seldom asked.

        host = Accounts(self._database).original_host() if name == ISSUER else None
        return None if host is None else of_host(host)
