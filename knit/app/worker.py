"""What a worker has open: the flows that its actors call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from knit.app.clock import now
from knit.app.issuing import acme
from knit.app.locks import LeasedLocks
from knit.app.proving import Proving, proving
from knit.app.published import PublishedSide, check_server, published_side
from knit.flows.publish import Publish
from knit.flows.reconcile import Reconcile
from knit.flows.renew import Renew
from knit.flows.values import Values
from knit.issuers.registry import Registry as Issuers
from knit.ports import Clock, Issuer, Retries, Sleep
from knit.settings.central import Worker as Settings
from knit.settings.environment import Environment
from knit.store.accounts import Accounts
from knit.store.agenda import Agendas
from knit.store.attempts import Attempts
from knit.store.clock import ServerClock
from knit.store.database import Database
from knit.store.installation import Installations
from knit.store.issuers import IssuerMemory
from knit.store.leases import Leases
from knit.store.passes import Passes
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from knit.valkey.staging import ValkeyStaging

CONNECTIONS = 5
"""To Postgres, per process: a connection is held for one statement, and renewals mostly wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a worker process has open."""

    reconcile: Reconcile
    renew: Renew
    publish: Publish
    leases: Leases
    agendas: Agendas
    close: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stores:
    """The adapters that flows share."""

    settings: Settings
    passes: Passes
    attempts: Attempts
    memory: IssuerMemory
    staging: ValkeyStaging
    published: PublishedSide
    clock: Clock

    def reconcile(self) -> Reconcile:
        policy, belonging, publication = self.settings.policy, self.published.belonging, self.published.publication
        values = Values(
            store=self.passes, home=belonging.home, publication=publication, policy=policy, clock=self.clock
        )
        return Reconcile(
            store=self.passes,
            memory=self.memory,
            publication=publication,
            belonging=belonging,
            values=values,
            policy=policy,
            clock=self.clock,
        )

    def renew(self, issuer: Issuer, proofs: Proving, retries: Retries) -> Renew:
        return Renew(
            store=self.attempts,
            memory=self.memory,
            staging=self.staging,
            publication=self.published.publication,
            belonging=self.published.belonging,
            issuers=Issuers([issuer]),
            prover=proofs.prover,
            sweep=proofs.sweep,
            policy=self.settings.policy,
            clock=now,
            retries=retries,
        )

    def publish(self, leases: Leases) -> Publish:
        return Publish(
            store=self.passes,
            leases=leases,
            staging=self.staging,
            publication=self.published.publication,
            belonging=self.published.belonging,
            prune=self.published.prune,
            clock=self.clock,
        )


def open_worker(settings: Settings, env: Environment, sleep: Sleep, retries: Retries) -> Worker:
    """Open everything a worker needs. Raises Misconfigured, CredentialsRejected, Unreachable with one line."""
    with ExitStack() as opened:
        database = opened.enter_context(Database.open(settings.db_url, connections=CONNECTIONS))
        leases = Leases(database)
        opened.callback(leases.stop)
        link = connect(settings.valkey_url, name="knit-worker")
        opened.callback(link.close)
        check_server(link, settings.queue_url)
        layout = Layout(settings.index_key)
        passes, attempts = Passes(database, layout.reserved), Attempts(database, leases)
        published = published_side(link, layout, passes, Installations(database))
        stores = _Stores(
            settings=settings,
            passes=passes,
            attempts=attempts,
            memory=IssuerMemory(database),
            staging=ValkeyStaging(link, layout, published.belonging.id),
            published=published,
            clock=ServerClock(database),
        )
        issuer = acme(settings.acme, Accounts(database), leases, sleep)
        opened.callback(issuer.close)
        proofs = proving(env, settings.dns, sleep, LeasedLocks(leases, sleep), attempts.removed)
        return Worker(
            reconcile=stores.reconcile(),
            renew=stores.renew(issuer, proofs, retries),
            publish=stores.publish(leases),
            leases=leases,
            agendas=Agendas(database),
            close=opened.pop_all().close,
        )
