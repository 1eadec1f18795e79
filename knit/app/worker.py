"""What a worker has open: the flows that its actors call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from knit.app.clock import now
from knit.app.collecting import collecting
from knit.app.issuing import Advisers, Revokers, open_issuers
from knit.app.listeners import to_log
from knit.app.locks import LeasedLocks
from knit.app.names import WORKER
from knit.app.proving import proving
from knit.app.stores import open_stores
from knit.flows.collect import Collect
from knit.flows.poll import Poll
from knit.flows.publish import Publish
from knit.flows.reconcile import Reconcile
from knit.flows.renew import Renew
from knit.flows.revoke import Revoke
from knit.ports.events import Listener
from knit.ports.process import Retries, Sleep
from knit.settings.central import Worker as Settings
from knit.settings.environment import Environment
from knit.settings.openable import Acme
from knit.store.accounts.sealing import Seal
from knit.store.database import Database
from knit.store.journal.attempts import Attempts
from knit.store.journal.holding import Holding
from knit.store.leases.centre import Centre
from knit.store.leases.leases import Leases
from knit.store.passes.agenda import Agendas

log = logging.getLogger(__name__)

CONNECTIONS = 5
"""To Postgres, per process: a connection is held for one statement, and renewals mostly wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a worker process has open."""

    reconcile: Reconcile
    renew: Renew
    publish: Publish
    poll: Poll
    revoke: Revoke
    collect: Collect
    leases: Leases
    agendas: Agendas
    centre: Centre
    close: Callable[[], None]


def open_worker(
    settings: Settings, env: Environment, sleep: Sleep, retries: Retries, *, tell: Listener = to_log, name: str = WORKER
) -> Worker:
    """Open everything a worker needs; PostgreSQL hears of it under this name, `tell` of what the flows do.

    Raises Misconfigured, CredentialsRejected, Unreachable with one line.
    """
    with ExitStack() as opened:
        database = opened.enter_context(Database.open(settings.db_url, connections=CONNECTIONS, name=name))
        stores = open_stores(settings, database, opened, tell)
        leases = stores.leases
        holding = Holding(database, leases)
        if not settings.secret_keys and any(isinstance(one, Acme) for one in settings.openable):
            log.warning("keys of ACME accounts lie in PostgreSQL in clear: KNIT_SECRET_KEY is not set")
        issuers = open_issuers(settings.openable, database, Seal(settings.secret_keys), leases, sleep)
        opened.callback(issuers.close)
        proofs = proving(env, settings.dns, sleep, LeasedLocks(leases, sleep), holding.removed)
        renew = Renew(
            holding=holding,
            store=Attempts(database, leases),
            memory=stores.memory,
            staging=stores.staging,
            publication=stores.published.publication,
            belonging=stores.published.belonging,
            values=stores.values(),
            issuers=issuers,
            prover=proofs.prover,
            sweep=proofs.sweep,
            room=stores.room,
            places=leases,
            rules=settings.rules,
            clock=now,
            retries=retries,
            tell=tell,
        )
        revoke = Revoke(
            store=stores.revocations,
            leases=leases,
            publication=stores.published.publication,
            copies=stores.copies,
            revokers=Revokers(issuers),
            rules=settings.rules,
            clock=now,
            tell=tell,
        )
        return Worker(
            reconcile=stores.reconcile(),
            renew=renew,
            publish=stores.publish(),
            poll=Poll(store=stores.renewal_infos, advisers=Advisers(issuers), rules=settings.rules, clock=now),
            revoke=revoke,
            collect=collecting(settings.report_url, settings.index_key, database),
            leases=leases,
            agendas=Agendas(database),
            centre=Centre(database),
            close=opened.pop_all().close,
        )
