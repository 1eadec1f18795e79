"""ACME accounts. Keys are sealed and opened in this package only: everything else has them as PEM, in memory."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from knit.core.model.account import Account, AccountKept
from knit.core.model.issuer import UNNAMED
from knit.store.accounts.sealing import AccountRef, Seal, sealed_by
from knit.store.database import Database
from knit.store.portions import swept
from knit.store.queries import Row, queries

ORIGINAL = AccountRef(UNNAMED, "")
FIELDS = ("directory", "issuer", "email", "uri", "registration")


class Accounts:
    """The port over knit_accounts, and over the table of the original."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal
        self._sql = queries("accounts/accounts")

    def get(self, directory: str, issuer: str) -> Account | None:
        """The account registered, or about to be registered, at this directory; else the plain issuer's there.

        Raises Misconfigured where its key is sealed and cannot be opened here.
        """
        row = self._row(directory, issuer)
        return None if row is None else self._opened(row, AccountRef(str(row["issuer"]), directory))

    def kept(self, directory: str, issuer: str) -> AccountKept | None:
        """What is known of that account without opening its key."""
        row = self._row(directory, issuer)
        if row is None:
            return None
        known = {name: row[name] for name in (*FIELDS, "deactivated_at") if name != "registration"}
        return AccountKept(**known, sealed_by=sealed_by(str(row["private_key"])))

    def save(self, account: Account) -> None:
        """Insert it, or replace the one of the same directory and issuer."""
        known = {name: getattr(account, name) for name in FIELDS}
        self._database.write(self._sql["save"], known | {"private_key": self._closed(account, account.private_key)})

    def forget(self, account: AccountKept, key: str | None) -> int:
        """It has to be registered again, with this key (PEM) if one is given; certificates that failed there are due.

        Gives how many those are. Killed before its end it is done with what has been done: the account is forgotten
        once no order of it is open that another key has no use for, and certificates are due after that.
        """
        known = {"directory": account.directory, "issuer": account.issuer}
        if key is not None:
            swept(self._database, self._sql["abandon"], known)
        self._database.write(self._sql["forget"], known | {"key": key and self._closed(account, key)})
        if key is None:
            swept(self._database, self._sql["retry"], known)
        return swept(self._database, self._sql["look_again"], known)

    def prepare_key(self, account: Account, key: str) -> str | None:
        """Keep the key (PEM) that is to follow the account's; gives the one that is kept, whoever was first.

        None when the account is not as it was any more.
        """
        row, ref = self._row_of(account), AccountRef(account.issuer, account.directory)
        if row is None:
            return None
        kept = self._database.row(self._sql["prepare_key"], {**row, "next_key": self._closed(account, key)})
        return None if kept is None else self._seal.open(str(kept["next_key"]), ref)

    def change_key(self, account: Account) -> bool:
        """The next key takes the place of the key; False when the account is not as it was any more."""
        row = self._row_of(account)
        return row is not None and self._database.write(self._sql["change_key"], row) == 1

    def contact(self, account: Account, email: str) -> None:
        """The CA has this address."""
        known = {"directory": account.directory, "issuer": account.issuer, "email": email}
        self._database.write(self._sql["contact"], known)

    def deactivate(self, account: Account, *, done: bool) -> None:
        """It is not used any more; not `done`: it is, after all."""
        known = {"directory": account.directory, "issuer": account.issuer, "uri": account.uri, "done": done}
        self._database.write(self._sql["deactivate"], known)

    def original(self) -> Account | None:
        """The account the original Go knit registered; its table does not tell at which directory."""
        row = self._database.row(self._sql["original"])
        return None if row is None else self._opened({**row, "directory": "", "issuer": UNNAMED, "uri": None}, ORIGINAL)

    def _row(self, directory: str, issuer: str) -> Row | None:
        return self._database.row(self._sql["get"], {"directory": directory, "issuer": issuer, "plain": UNNAMED})

    def _row_of(self, account: Account) -> Row | None:
        """Its row as it lies there, where that is still this account with these keys."""
        row = self._row(account.directory, account.issuer)
        if row is None or self._opened(row, AccountRef(str(row["issuer"]), account.directory)) != account:
            return None
        return row

    def _opened(self, row: Row, ref: AccountRef) -> Account:
        key, later = str(row["private_key"]), row.get("next_key")
        opened = {
            "private_key": self._seal.open(key, ref),
            "next_key": None if later is None else self._seal.open(str(later), ref),
        }
        return Account(**{**row, **opened})

    def _closed(self, account: Account | AccountKept, key: str) -> str:
        return self._seal.close(key, AccountRef(account.issuer, account.directory))


def original_host(database: Database) -> str | None:
    """The host of the CA that knows the original's account, from the account's URI."""
    row = database.row(queries("accounts/accounts")["original"])
    return None if row is None else _host(str(row["registration"]))


def _host(registration: str) -> str | None:
    try:
        uri = json.loads(registration)["uri"]
    except (ValueError, KeyError, TypeError):
        return None
    return urlsplit(uri).hostname if isinstance(uri, str) else None
