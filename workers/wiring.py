"""From settings to flows: the one place where a worker process opens things, and closes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from knit.app.locks import LeasedLocks
from knit.core.model import Leftover
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.pauses import Pauses
from knit.dns.prover import Dns01, Shared, sweep
from knit.errors import KnitError, Misconfigured
from knit.flows.belonging import Belonging
from knit.flows.prune import Prune
from knit.flows.publish import Publish
from knit.flows.reconcile import Reconcile
from knit.flows.renew import Renew
from knit.flows.values import Values
from knit.issuers.acme import AcmeIssuer, Holder, Site
from knit.issuers.registry import Registry as Issuers
from knit.outages import Outages
from knit.ports import Journal, Prover, Sleep
from knit.providers.base import Runtime
from knit.providers.http.tls import Trust
from knit.providers.registry import Registry as Solvers
from knit.providers.registry import split
from knit.settings.central import Worker
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
from knit.valkey.connect import Link, check_keeps_values, connect, same_server
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from knit.valkey.staging import ValkeyStaging
from workers.actors import Flows
from workers.retries import RetryShare

log = logging.getLogger(__name__)

CONNECTIONS = 5
"""To Postgres, per process: a connection is held for one statement, and renewals mostly wait."""


def now() -> datetime:
    """The clock of this process."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """What a worker process has open."""

    flows: Flows
    leases: Leases
    agendas: Agendas
    close: Callable[[], None]


def wire(settings: Worker, env: Environment, sleep: Sleep, outages: Outages) -> Wired:
    """Open everything a worker needs. Raises Misconfigured, CredentialsRejected, Unreachable with one line."""
    with ExitStack() as opened:
        database = opened.enter_context(Database.open(settings.db_url, connections=CONNECTIONS))
        leases = Leases(database)
        opened.callback(leases.stop)
        link = connect(settings.valkey_url, name="knit-worker")
        opened.callback(link.close)
        _check(link, settings)
        layout = Layout(settings.index_key)
        passes, store = Passes(database, layout.reserved), Attempts(database, leases)
        published = published_side(link, layout, passes, Installations(database))
        publication, belonging = published.publication, published.belonging
        staging = ValkeyStaging(link, layout, belonging.id)
        memory = IssuerMemory(database)
        dns = _Dns(env, settings, leases, store, sleep)
        acme = _acme(settings, Accounts(database), leases, sleep)
        opened.callback(acme.close)
        clock = ServerClock(database)
        retries = RetryShare(settings.concurrency)
        flows = Flows(
            reconcile=Reconcile(
                store=passes,
                memory=memory,
                publication=publication,
                belonging=belonging,
                values=Values(
                    store=passes, home=belonging.home, publication=publication, policy=settings.policy, clock=clock
                ),
                policy=settings.policy,
                clock=clock,
            ),
            renew=Renew(
                store=store,
                memory=memory,
                staging=staging,
                publication=publication,
                belonging=belonging,
                issuers=Issuers([acme]),
                prover=dns.prover,
                sweep=dns.sweep,
                policy=settings.policy,
                clock=now,
                retries=retries,
            ),
            publish=Publish(
                store=passes,
                leases=leases,
                staging=staging,
                publication=publication,
                belonging=belonging,
                prune=published.prune,
                clock=clock,
            ),
            clock=now,
            retries=retries,
            outages=outages,
        )
        return Wired(flows=flows, leases=leases, agendas=Agendas(database), close=opened.pop_all().close)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSide:
    """The published side of the certificate Valkey, and what keeps it this installation's."""

    publication: ValkeyPublication
    belonging: Belonging
    prune: Prune


def published_side(link: Link, layout: Layout, store: Passes, home: Installations) -> PublishedSide:
    """Everything that knows which installation this is."""
    installation = home.known().id
    publication = ValkeyPublication(link, layout, installation)
    return PublishedSide(
        publication=publication,
        belonging=Belonging(id=installation, home=home, store=store, publication=publication),
        prune=Prune(installation=installation, home=home, store=store, publication=publication),
    )


def _check(link: Link, settings: Worker) -> None:
    """The certificate Valkey must keep what it is given, and must not be the queue under another name."""
    with _examining("certificate Valkey not examined"):
        for warning in check_keeps_values(link):
            log.warning("certificate Valkey may lose keys", extra={"reason": warning})
    with _examining("not known whether queue and certificate Valkey are one server"):
        _refuse_shared(link, settings.queue_url)


@contextmanager
def _examining(otherwise: str) -> Iterator[None]:
    """A user with few rights may not ask for a server's settings; one that is away is found out later."""
    try:
        yield
    except Misconfigured:
        raise
    except KnitError as error:
        log.warning(otherwise, extra={"reason": str(error)})


def _refuse_shared(link: Link, queue_url: str | None) -> None:
    if queue_url is None or queue_url.startswith("amqp"):
        return
    queue = connect(queue_url, name="knit-queue")
    try:
        shared = same_server(link, queue)
    finally:
        queue.close()
    if shared:
        message = "KNIT_QUEUE_URL: leads to the certificate Valkey, whose contents are replicated to the nodes"
        raise Misconfigured(message)


def _acme(settings: Worker, accounts: Accounts, leases: Leases, sleep: Sleep) -> AcmeIssuer:
    acme = settings.acme
    holder = Holder(email=acme.email, eab_kid=acme.eab_kid, eab_hmac=acme.eab_hmac)
    site = Site(
        directory=acme.directory,
        ca_files=acme.ca_files,
        hosts=acme.hosts,
        holder=holder,
        deactivates=acme.deactivates,
    )
    return AcmeIssuer(site, accounts, leases, now, sleep)


class _Dns:
    """The DNS side of a worker: provers for attempts, and the sweep of what earlier ones left behind."""

    def __init__(self, env: Environment, settings: Worker, leases: Leases, store: Attempts, sleep: Sleep) -> None:
        runtime = Runtime(
            clock=now,
            sleep=sleep,
            resolvers=settings.dns.resolvers or (),
            trust=Trust(file=settings.dns.ca_file, folders=settings.dns.ca_folders),
        )
        self._solvers = Solvers(env, runtime)
        looking = Looking(
            resolvers=settings.dns.resolvers,
            timeout=settings.dns.timeout,
            recursive_check=settings.dns.recursive_check,
            wait=settings.dns.wait,
            follow_cname=settings.dns.follow_cname,
        )
        self._exclusive = LeasedLocks(leases, sleep)
        self._delegation = DnsDelegation(looking, sleep)
        self._shared = Shared(delegation=self._delegation, exclusive=self._exclusive, pauses=Pauses(sleep))
        self._store = store

    def prover(self, provider: str, journal: Journal) -> Prover:
        return Dns01(split(provider)[0], self._solvers.solver(provider), journal, self._shared)

    def sweep(self, leftovers: Sequence[Leftover]) -> None:
        sweep(leftovers, self._solvers, self._store.removed, self._exclusive, self._delegation.is_gone)
