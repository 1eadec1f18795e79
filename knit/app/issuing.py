"""The issuers of a process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from knit.app.clock import now
from knit.core.revocation import SIGNS_ITSELF
from knit.errors import Misconfigured, Refused
from knit.issuers.acme import AccountOwner, AcmeIssuer, Site
from knit.issuers.acme.jws import account_key_of, new_account_key
from knit.issuers.acme.survey import Where
from knit.issuers.configured import Registry
from knit.ports.issuing import Accounts, Issuer, Issuers
from knit.ports.leases import Leases
from knit.ports.process import Sleep
from knit.ports.renewal_info import Adviser
from knit.ports.revoking import Revoker
from knit.settings.openable import Acme, Openable
from knit.settings.own_issuers import OwnCa, SelfSigned
from knit.store.accounts import accounts
from knit.store.accounts.sealing import Seal
from knit.store.database import Database

if TYPE_CHECKING:
    from knit.issuers.ca import CaIssuer


def open_issuers(
    settings: Sequence[Openable], database: Database, seal: Seal, leases: Leases, sleep: Sleep
) -> Registry:
    """Each is opened by the first certificate that asks for it, so that one which cannot be stops no others.

    Account keys are kept with this seal.
    The only one is opened now: nothing could be issued without it. Raises Misconfigured.
    """
    openers = {one.terms.name: partial(issuer, one, database, seal, leases, sleep) for one in settings}
    registry = Registry(openers)
    if len(openers) == 1:
        registry.issuer(*openers)
    return registry


def issuer(settings: Openable, database: Database, seal: Seal, leases: Leases, sleep: Sleep) -> Issuer:
    """Of whatever kind. Raises Misconfigured."""
    match settings:
        case OwnCa():
            return own_ca(settings, database)
        case SelfSigned():
            from knit.issuers.selfsigned import SelfSignedIssuer

            return SelfSignedIssuer(settings.terms.name, settings.lifetime, now)
        case Acme():
            return acme(settings, accounts.Accounts(database, seal), leases, sleep)


def own_ca(settings: OwnCa, database: Database) -> CaIssuer:
    """A CA of our own."""
    from knit.issuers.ca import CaIssuer, CaPolicy
    from knit.store.ca_register.ca_register import CaRegister

    own = ("lifetime", "permitted", "client_auth", "crl_url", "crl_lifetime")
    policy = CaPolicy(**{name: getattr(settings, name) for name in own})
    return CaIssuer(settings.terms.name, settings.authority, policy, CaRegister(database), clock=now)


def acme(settings: Acme, accounts: Accounts, leases: Leases, sleep: Sleep) -> AcmeIssuer:
    """A CA that speaks ACME. Raises Misconfigured."""
    site = Site(
        name=settings.terms.name,
        directory=settings.terms.directory,
        ca_files=settings.ca_files,
        hosts=settings.hosts,
        holder=AccountOwner(
            email=settings.email,
            eab_kid=settings.eab_kid,
            eab_hmac=settings.eab_hmac,
            own_key=None if settings.account_key_file is None else partial(_read_key, settings.account_key_file),
        ),
        deactivates=settings.deactivates,
        proxies=settings.proxies,
        plain=settings.plain,
    )
    return AcmeIssuer(site, accounts, leases, now, sleep)


def where(settings: Acme, sleep: Sleep) -> Where:
    """The same CA, for what is asked of it without an order."""
    return Where(
        directory=settings.terms.directory,
        ca_files=settings.ca_files,
        proxies=settings.proxies,
        clock=now,
        sleep=sleep,
    )


class Advisers:
    """The port: those issuers that speak ACME say when they would have certificates renewed, or that they never do."""

    def __init__(self, issuers: Issuers) -> None:
        self._issuers = issuers

    def adviser(self, issuer: str) -> Adviser | None:
        """See the port."""
        found = self._issuers.issuer(issuer)
        return found if isinstance(found, AcmeIssuer) else None


class Revokers:
    """The port."""

    def __init__(self, issuers: Issuers) -> None:
        self._issuers = issuers

    def revoker(self, issuer: str) -> Revoker:
        """See the port."""
        found = self._issuers.issuer(issuer)
        if not isinstance(found, Revoker):
            raise Refused(SIGNS_ITSELF)
        return found


def _read_key(path: str) -> str:
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        message = f"account_key_file = {path!r}: cannot be read ({why})"
        raise Misconfigured(message) from None
    return account_key_of(data)


def account_key() -> str:
    """A new key for an account there, PEM."""
    return new_account_key()
