"""What a command of the centre has open: PostgreSQL, as the ports that the command asks for.

An adapter is imported when it is asked for: most commands need one of them, and a person waits for each import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from knit.app.names import person
from knit.store.database import Database

if TYPE_CHECKING:
    from knit.core.model.certificate import CertId
    from knit.core.model.listing import Listed
    from knit.core.wanted import ListRules
    from knit.flows.collect import Collect
    from knit.flows.edit_list import EditList
    from knit.flows.status import Status
    from knit.ports.centre import Bell, Centre
    from knit.ports.events import Events
    from knit.ports.issuing import AccountBook, AccountSealing, IssuerBook
    from knit.ports.list import Certs
    from knit.ports.process import Sleep
    from knit.ports.revoking import RevocationBook
    from knit.ports.served import ServedBook
    from knit.settings.central import Central


class Console:
    """The ports over one connection to PostgreSQL."""

    def __init__(self, database: Database, central: Central) -> None:
        self.database = database
        self._central = central

    @cached_property
    def certs(self) -> Certs:
        """The list of certificates."""
        from knit.store.list.certs import Certs

        return Certs(self.database, lambda: self._allowed)

    @property
    def edit(self) -> EditList:
        """Edits the list."""
        from knit.app.dns_providers import split
        from knit.flows.edit_list import EditList

        return EditList(store=self.certs, known=split, allowed=self._allowed)

    @cached_property
    def centre(self) -> Centre:
        """Who works, and on what."""
        from knit.store.leases.centre import Centre

        return Centre(self.database)

    @cached_property
    def bell(self) -> Bell:
        """Tells a running centre of a change."""
        from knit.store.passes.agenda import Agendas

        return Agendas(self.database)

    def accounts(self, keys: Sequence[bytes]) -> AccountBook:
        """Our accounts at CAs, sealed with the first of these keys."""
        from knit.store.accounts.accounts import Accounts
        from knit.store.accounts.sealing import Seal

        return Accounts(self.database, Seal(keys))

    def sealing(self, keys: Sequence[bytes]) -> AccountSealing:
        """Seals account keys with the first of these keys."""
        from knit.store.accounts.reseal import Resealing
        from knit.store.accounts.sealing import Seal

        return Resealing(self.database, Seal(keys))

    @cached_property
    def issuers(self) -> IssuerBook:
        """Where each issuer's certificates come from."""
        from knit.store.accounts.issuers import IssuerMemory

        return IssuerMemory(self.database)

    @cached_property
    def revocations(self) -> RevocationBook:
        """Certificates that are to be revoked, or were."""
        from knit.store.revocations.revocations import Revocations

        return Revocations(self.database)

    @cached_property
    def events(self) -> Events:
        """What has happened."""
        from knit.store.events.events import EventLog

        return EventLog(self.database)

    @cached_property
    def served(self) -> ServedBook:
        """What nodes have reported."""
        from knit.store.served.book import ServedBook

        return ServedBook(self.database)

    def status(self, sleep: Sleep) -> Status:
        """Reads reports, and says what they come to."""
        from knit.app.clock import now
        from knit.flows.status import Status

        return Status(collect=self._collect, book=self.served, clock=now, sleep=sleep)

    @property
    def _collect(self) -> Collect | None:
        from knit.app.collecting import collecting

        url = self._central.report_url
        return None if url is None else collecting(url, self._central.index_key, self.database)

    def compromise(self, cert_id: CertId) -> int:
        """Declare every key of this certificate compromised; gives how many are known. An open attempt is over."""
        from knit.store.publications.installation import Installations

        return Installations(self.database).compromise(cert_id)

    @property
    def _allowed(self) -> ListRules:
        from knit.app.allowed import allowed

        return allowed(self._central)


@contextmanager
def open_console(central: Central) -> Iterator[Console]:
    """Over one connection. Raises KnitError when PostgreSQL cannot be had."""
    with Database.open(central.db_url, name=person()) as database:
        yield Console(database, central)


def glance(central: Central) -> Sequence[Listed]:
    """All certificates, by id, from a database as it stands; none where it cannot be read or has no list."""
    from knit.store.list import certs

    return certs.glance(central.db_url)
