"""What `knit issuers test` finds out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from knit.app.issuing import issuer, where
from knit.core.findings import Finding, Verdict
from knit.core.issuers import refusal
from knit.core.offer import judge
from knit.errors import KnitError
from knit.ports.process import Sleep
from knit.settings.openable import Acme, Openable
from knit.store.accounts.accounts import Accounts
from knit.store.accounts.issuers import IssuerMemory
from knit.store.accounts.sealing import Seal
from knit.store.database import Database
from knit.store.leases.leases import Leases


def survey(settings: Openable, database: Database, keys: Sequence[bytes], sleep: Sleep) -> list[Finding]:
    """One finding for each question. Nothing is ordered, and nothing written; `keys` open that of the account."""
    seal = Seal(keys)
    try:
        if isinstance(settings, Acme):
            found = list(_acme(settings, database, seal, sleep))
        else:
            found = list(_own(settings, database, seal, sleep))
    except KnitError as error:
        found = [_failed("issuer", str(error))]
    why = refusal(settings.terms, IssuerMemory(database).recall(settings.terms.name))
    return found if why is None else [*found, _failed("recorded", why)]


def _acme(settings: Acme, database: Database, seal: Seal, sleep: Sleep) -> Iterator[Finding]:
    terms = settings.terms
    account = Accounts(database, seal).get(terms.directory, terms.name)
    bound = settings.eab_kid is not None
    return judge(where(settings, sleep).offered(account, bound=bound), terms)


def _own(settings: Openable, database: Database, seal: Seal, sleep: Sleep) -> Iterator[Finding]:
    """Its files are read as a worker would read them."""
    leases = Leases(database)
    try:
        with closing(issuer(settings, database, seal, leases, sleep)):
            yield Finding(subject="issuer", verdict=Verdict.OK, text=f"can issue: {settings.terms.directory}")
    finally:
        leases.stop()


def _failed(subject: str, text: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.FAILED, text=text)
