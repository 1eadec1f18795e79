"""ACME accounts. The account key is in Postgres in clear, as the original has it: guard the database accordingly."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from knit.core.model.issuer import UNNAMED, Account
from knit.store.database import Database
from knit.store.queries import Row, queries


class Accounts:
    """The port over knit_accounts, and over the table of the original."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("accounts/accounts")

    def get(self, directory: str, issuer: str) -> Account | None:
        """The account registered, or about to be registered, at this directory; else the plain issuer's there."""
        row = self._database.row(self._sql["get"], {"directory": directory, "issuer": issuer, "plain": UNNAMED})
        return None if row is None else _account(row)

    def save(self, account: Account) -> None:
        """Insert it, or replace the one of the same directory and issuer."""
        fields = ("directory", "issuer", "email", "private_key", "uri", "registration")
        self._database.write(self._sql["save"], {name: getattr(account, name) for name in fields})

    def forget(self, account: Account, key: str | None) -> int:
        """It has to be registered again, with this key (PEM) if one is given; certificates that failed there are due.

        Gives how many those are.
        """
        row = self._database.row(
            self._sql["forget"], {"directory": account.directory, "issuer": account.issuer, "key": key}
        )
        return 0 if row is None else int(row["due"])

    def original(self) -> Account | None:
        """The account the original Go knit registered; its table does not tell at which directory."""
        row = self._database.row(self._sql["original"])
        return None if row is None else _account({**row, "directory": "", "issuer": UNNAMED, "uri": None})

    def original_host(self) -> str | None:
        """The host of the CA that knows the original's account, from the account's URI."""
        account = self.original()
        return None if account is None else _host(account.registration)


def _account(row: Row) -> Account:
    return Account(**row)


def _host(registration: str) -> str | None:
    try:
        uri = json.loads(registration)["uri"]
    except (ValueError, KeyError, TypeError):
        return None
    return urlsplit(uri).hostname if isinstance(uri, str) else None
