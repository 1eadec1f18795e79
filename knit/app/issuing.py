"""The issuers of a process."""

from __future__ import annotations

from knit.app.clock import now
from knit.issuers.acme import AcmeIssuer, Holder, Site
from knit.issuers.acme.signing import new_account_key
from knit.ports.issuing import Accounts
from knit.ports.leases import Leases
from knit.ports.process import Sleep
from knit.settings.central import Acme


def acme(settings: Acme, accounts: Accounts, leases: Leases, sleep: Sleep) -> AcmeIssuer:
    """The CA that the plain variables name."""
    site = Site(
        name=settings.name,
        directory=settings.directory,
        ca_files=settings.ca_files,
        hosts=settings.hosts,
        holder=Holder(email=settings.email, eab_kid=settings.eab_kid, eab_hmac=settings.eab_hmac),
        deactivates=settings.deactivates,
        proxies=settings.proxies,
    )
    return AcmeIssuer(site, accounts, leases, now, sleep)


def account_key() -> str:
    """A new key for an account there, PEM."""
    return new_account_key()
