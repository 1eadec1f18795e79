"""Our account at one CA, as `knit account` shows, changes and ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from knit.app.issuing import where
from knit.core.caa import binding
from knit.core.model.account import Account, AccountKept
from knit.errors import Busy, KnitError, Misconfigured, Refused
from knit.issuers.acme import upkeep
from knit.issuers.acme.jws import Signer, new_account_key
from knit.issuers.acme.network import Network
from knit.issuers.acme.problems import ProblemReply
from knit.issuers.acme.wire import Directory
from knit.ports.issuing import AccountBook
from knit.ports.leases import Leases
from knit.ports.process import Sleep
from knit.settings.openable import Acme, Openable
from knit.store.accounts.accounts import Accounts
from knit.store.accounts.sealing import Seal
from knit.store.database import Database
from knit.store.leases.leases import Leases as StoredLeases


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An account, as PostgreSQL and the CA have it.

    `status` and `contact` are the CA's words, `objection` why the account can order nothing, or could not be asked
    about. `thumbprint` is None where the key is sealed and cannot be opened here. `caa` are values of CAA records that
    let this CA issue for this account alone; none where the CA does not say how it is called.
    """

    kept: AccountKept
    status: str | None
    contact: tuple[str, ...]
    objection: str | None
    thumbprint: str | None
    unfinished: bool
    caa: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """One issuer's account. What asks the CA raises KnitError; nothing here registers an account."""

    settings: Acme
    accounts: AccountBook
    leases: Leases
    sleep: Sleep

    def show(self) -> Shown:
        """What there is to know; that the CA cannot be asked, or the key not opened, is part of it."""
        kept = self._kept()
        account, stands, identities, objection = None, upkeep.AccountStatus(), frozenset[str](), None
        try:
            account = self._account()
            with where(self.settings, self.sleep).reading() as (network, directory):
                identities = directory.caa_identities
                account = upkeep.settled(network, directory, account, self.accounts)
                stands = upkeep.standing(network, directory, account)
        except KnitError as error:
            objection = str(error)
        uri = account.uri if account is not None else kept.uri
        return Shown(
            kept=kept,
            status=stands.status,
            contact=stands.contact,
            objection=objection or stands.objection,
            thumbprint=None if account is None else Signer(account.private_key).thumbprint,
            unfinished=account is not None and account.next_key is not None,
            caa=() if uri is None else tuple(binding(name, uri) for name in sorted(identities)),
        )

    def rotate(self) -> tuple[Account, str]:
        """Give it another key; where that was begun before, finish it. Gives the thumbprint of the new one, too."""
        with self._alone() as account, where(self.settings, self.sleep).reading() as (network, directory):
            after = upkeep.rotate(network, directory, account, self.accounts, new_account_key)
        return after, Signer(after.private_key).thumbprint

    def deactivate(self) -> Account:
        """End it at the CA, for ever. Nothing is asked for with it from the moment on at which that is begun."""
        with self._alone() as account:
            self.accounts.deactivate(account, done=True)
            with where(self.settings, self.sleep).reading() as (network, directory):
                self._end(network, directory, account)
            return account

    def _end(self, network: Network, directory: Directory, account: Account) -> None:
        """An account that the CA keeps, because it refuses this very thing, is used as before."""
        account = upkeep.settled(network, directory, account, self.accounts)
        try:
            upkeep.deactivate(network, directory, account)
        except ProblemReply as refused:
            if refused.problem.is_refusal:
                self.accounts.deactivate(account, done=False)
            raise
        except Refused:
            self.accounts.deactivate(account, done=False)
            raise

    @contextmanager
    def _alone(self) -> Iterator[Account]:
        """The registered account, while no other process registers or changes it."""
        kept = self._kept()
        with self.leases.hold(f"account:{kept.issuer}:{kept.directory}") as lease:
            if lease is None:
                raise Busy("another process is at work on this account: try again in half a minute")
            yield self._account()

    def _kept(self) -> AccountKept:
        terms = self.settings.terms
        kept = self.accounts.kept(terms.directory, terms.name)
        if kept is None or kept.uri is None:
            raise Refused(f"issuer {terms.name} has no account at {terms.directory} yet: the first order registers one")
        return kept

    def _account(self) -> Account:
        terms = self.settings.terms
        found = self.accounts.get(terms.directory, terms.name)
        if found is None or found.uri is None:
            raise Busy(f"the account of issuer {terms.name} was forgotten meanwhile")
        return found


@contextmanager
def open_upkeep(settings: Openable, database: Database, keys: Sequence[bytes], sleep: Sleep) -> Iterator[Upkeep]:
    """`keys` open and seal that of the account. Raises Misconfigured for an issuer that has no accounts."""
    if not isinstance(settings, Acme):
        raise Misconfigured(f"issuer {settings.terms.name} is of kind {settings.terms.kind}, which has no account")
    leases = StoredLeases(database)
    try:
        yield Upkeep(settings=settings, accounts=Accounts(database, Seal(keys)), leases=leases, sleep=sleep)
    finally:
        leases.stop()
