"""The issuers of a process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from knit.app.clock import now
from knit.issuers.acme import AcmeIssuer, Holder, Site
from knit.issuers.acme.signing import new_account_key
from knit.issuers.configured import Registry
from knit.ports.issuing import Accounts
from knit.ports.leases import Leases
from knit.ports.process import Sleep
from knit.settings.issuers import Acme


def open_issuers(settings: Sequence[Acme], accounts: Accounts, leases: Leases, sleep: Sleep) -> Registry:
    """Each is opened by the first certificate that asks for it, so that one which cannot be stops no others.

    The only one is opened now: nothing could be issued without it. Raises Misconfigured.
    """
    openers = {one.terms.name: partial(acme, one, accounts, leases, sleep) for one in settings}
    registry = Registry(openers)
    if len(openers) == 1:
        registry.issuer(*openers)
    return registry


def acme(settings: Acme, accounts: Accounts, leases: Leases, sleep: Sleep) -> AcmeIssuer:
    """A CA that speaks ACME. Raises Misconfigured."""
    site = Site(
        name=settings.terms.name,
        directory=settings.terms.directory,
        ca_files=settings.ca_files,
        hosts=settings.hosts,
        holder=Holder(email=settings.email, eab_kid=settings.eab_kid, eab_hmac=settings.eab_hmac),
        deactivates=settings.deactivates,
        proxies=settings.proxies,
        plain=settings.plain,
    )
    return AcmeIssuer(site, accounts, leases, now, sleep)


def account_key() -> str:
    """A new key for an account there, PEM."""
    return new_account_key()
