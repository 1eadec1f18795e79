"""What a pass needs, and nothing that issues: PostgreSQL and the certificate Valkey, as flows share them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from knit.app.allowed import allowed
from knit.app.listeners import to_log
from knit.app.published import PublishedSide, check_server, published_side
from knit.flows.move import Move
from knit.flows.publish import Publish
from knit.flows.reconcile import Reconcile
from knit.flows.room import Room
from knit.flows.values import Values
from knit.ports.events import Listener
from knit.ports.process import Clock
from knit.settings.central import Worker as Settings
from knit.store.accounts.issuers import IssuerMemory
from knit.store.ari.renewal_infos import RenewalInfos
from knit.store.budget.budgets import Budgets
from knit.store.clock import ServerClock
from knit.store.database import Database
from knit.store.leases.leases import Leases
from knit.store.passes.passes import Passes
from knit.store.publications.installation import Installations
from knit.store.revocations.revocations import Revocations
from knit.valkey.connect import connect
from knit.valkey.copies import ValkeyCopies
from knit.valkey.layout import Layout
from knit.valkey.staging import ValkeyStaging


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The adapters that flows share, and the flows that need no others."""

    settings: Settings
    leases: Leases
    passes: Passes
    budgets: Budgets
    renewal_infos: RenewalInfos
    revocations: Revocations
    memory: IssuerMemory
    staging: ValkeyStaging
    copies: ValkeyCopies
    published: PublishedSide
    clock: Clock
    tell: Listener

    def values(self) -> Values:
        """What is live beside what is recorded."""
        return Values(
            store=self.passes,
            home=self.published.belonging.home,
            publication=self.published.publication,
            rules=self.settings.rules,
            clock=self.clock,
            tell=self.tell,
        )

    @property
    def room(self) -> Room:
        """What the limits of CAs leave."""
        return Room(store=self.budgets, clock=self.clock)

    def reconcile(self) -> Reconcile:
        """A pass."""
        return Reconcile(
            store=self.passes,
            memory=self.memory,
            publication=self.published.publication,
            belonging=self.published.belonging,
            values=self.values(),
            room=self.room,
            rules=self.settings.rules,
            clock=self.clock,
        )

    def publish(self) -> Publish:
        """What publishes, refreshes and prunes."""
        belonging, publication = self.published.belonging, self.published.publication
        return Publish(
            store=self.passes,
            leases=self.leases,
            staging=self.staging,
            publication=publication,
            belonging=belonging,
            move=Move(
                installation=belonging.id, store=self.passes, publication=publication, clock=self.clock, tell=self.tell
            ),
            prune=self.published.prune,
            clock=self.clock,
            tell=self.tell,
        )


def open_stores(settings: Settings, database: Database, opened: ExitStack, tell: Listener = to_log) -> Stores:
    """Open them; `opened` closes them, `tell` hears what the flows do.

    Raises Misconfigured, CredentialsRejected, Unreachable with one line.
    """
    leases = Leases(database)
    opened.callback(leases.stop)
    link = connect(settings.valkey_url, name="knit-worker")
    opened.callback(link.close)
    check_server(link, settings.queue_url)
    layout = Layout(settings.index_key)
    passes = Passes(database, allowed(settings))
    published = published_side(link, layout, passes, Installations(database), tell)
    return Stores(
        settings=settings,
        leases=leases,
        passes=passes,
        budgets=Budgets(database),
        renewal_infos=RenewalInfos(database),
        revocations=Revocations(database),
        copies=ValkeyCopies(link, layout, published.belonging.id),
        memory=IssuerMemory(database),
        staging=ValkeyStaging(link, layout, published.belonging.id),
        published=published,
        clock=ServerClock(database),
        tell=tell,
    )
