"""Those who issue certificates, and our accounts there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from knit.core.model.account import Account, AccountKept, Sealed
from knit.core.model.attempt import IssueRequest
from knit.core.model.issuer import Identity, Remembered, Terms
from knit.ports.journal import Journal
from knit.ports.solving import Prover

Keep = Callable[[bytes], None]
"""Puts a chain where it outlives this process."""


class Issuer(Protocol):
    """Turns a CSR into a chain."""

    name: str
    roots: bytes
    """PEM: whose signature alone makes a certificate whole. Empty: a certificate comes with its issuer's."""
    proves: bool
    """Whether it asks for proofs of control, so that a certificate needs a DNS provider."""

    def issue(self, request: IssueRequest, journal: Journal, prover: Prover, keep: Keep) -> bytes:
        """Return the full chain, leaf first, PEM. `keep` has it before the order's proofs are given up.

        Goes on with `request.order_url` when given (and makes a new order, journalled, only when the CA no
        longer knows that order or says it is invalid). At most one finalize per order.
        Raises AccountLimited, Unreachable, NotVisible, Interrupted, IdentifierRejected, CredentialsRejected. Once the
        CSR may have been sent, what does not say in the CA's own words that the order is over is OrderKept.
        """

    def close(self) -> None:
        """End what it keeps open."""


class Issuers(Protocol):
    """Finds the issuer a certificate asks for."""

    def issuer(self, name: str) -> Issuer:
        """Raises Misconfigured for a name that is not configured."""


class Accounts(Protocol):
    """The ACME accounts in Postgres, one for each directory and issuer."""

    def get(self, directory: str, issuer: str) -> Account | None:
        """The account of this issuer; else that of the issuer of the plain variables, if it has one at this directory.

        Raises Misconfigured where its key is sealed and cannot be opened here.
        """

    def save(self, account: Account) -> None:
        """Insert it, or replace the one of the same directory and issuer. Called with the account's lease held."""

    def original(self) -> Account | None:
        """The account the original Go knit registered, with `directory` "" because its table does not tell."""

    def change_key(self, account: Account) -> bool:
        """The next key takes the place of the key; False when the account is not as it was any more."""

    def contact(self, account: Account, email: str) -> None:
        """The CA has this address."""


class AccountBook(Accounts, Protocol):
    """The accounts as somebody at a shell mends them."""

    def kept(self, directory: str, issuer: str) -> AccountKept | None:
        """What is known of the account that `get` gives, without opening its key."""

    def prepare_key(self, account: Account, key: str) -> str | None:
        """Keep the key (PEM) that is to follow the account's; gives the one that is kept, whoever was first.

        None when the account is not as it was any more.
        """

    def deactivate(self, account: Account, *, done: bool) -> None:
        """The account is not used any more; not `done`: it is, after all."""

    def forget(self, account: AccountKept, key: str | None) -> int:
        """The account has to be registered again, with this key (PEM) if one is given.

        Certificates that failed there are due; gives how many those are.
        """


class AccountSealing(Protocol):
    """Account keys that already lie in PostgreSQL, as somebody at a shell seals them."""

    def run(self, issuer: str | None, *, keep_original: bool) -> Sequence[Sealed]:
        """Those of one issuer, or all; gives what lies how from now on.

        `keep_original`: what lies in the table of the Go knit stays as that one can read it. Raises Misconfigured
        without a key to seal with, and for what cannot be opened: then the others are sealed all the same.
        """

    def purge(self) -> Sequence[str]:
        """Have PostgreSQL drop old versions of rows from their files; gives the tables where it could not."""

    def keepers(self) -> Sequence[str]:
        """What keeps copies from before for as long as it is there: prepared transactions, replication slots."""


class IssuerMemory(Protocol):
    """Where each issuer's certificates come from, as PostgreSQL remembers it from its first use on."""

    def recall(self, issuer: str) -> Identity | None:
        """What it is, or None before the first use."""

    def remember(self, terms: Terms) -> Identity:
        """This issuer is about to be used for the first time; gives what it is from now on, whoever was first.

        What has not been recorded of one that is there already is, too.
        """

    def correct(self, terms: Terms) -> bool:
        """Put this directory in place of one that has failed and never had an account or a certificate; gives whether.

        What never was a CA is nothing to hold on to: a typing error, most likely.
        """


class IssuerBook(IssuerMemory, Protocol):
    """What is remembered of issuers, as somebody at a shell looks at it and corrects it."""

    def accept(self, terms: Terms) -> int:
        """From now on its certificates come from here; gives how many enabled ones come from elsewhere."""

    def all(self) -> Sequence[Remembered]:
        """All issuers that have been used."""
