"""The certificate Valkey as the centre has it: what is published, and what keeps it one installation's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from knit.app.allowed import allowed
from knit.app.listeners import to_log
from knit.app.names import person
from knit.errors import KnitError, Misconfigured
from knit.flows.belonging import Belonging
from knit.flows.prune import Prune
from knit.ports.events import Listener
from knit.settings.central import Worker
from knit.store.database import Database
from knit.store.leases.leases import Leases
from knit.store.passes.passes import Passes
from knit.store.publications.installation import Installations
from knit.valkey.connect import Link, check_keeps_values, connect, same_server
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSide:
    """The published side of the certificate Valkey, and what keeps it this installation's."""

    publication: ValkeyPublication
    belonging: Belonging
    prune: Prune


@contextmanager
def open_published(settings: Worker) -> Iterator[tuple[PublishedSide, Leases]]:
    """The published side and the leases, over connections of their own."""
    with ExitStack() as opened:
        database = opened.enter_context(Database.open(settings.db_url, name=person()))
        leases = Leases(database)
        opened.callback(leases.stop)
        link = connect(settings.valkey_url, name="knit-cli")
        opened.callback(link.close)
        layout = Layout(settings.index_key)
        yield published_side(link, layout, Passes(database, allowed(settings)), Installations(database)), leases


def published_side(
    link: Link, layout: Layout, store: Passes, home: Installations, tell: Listener = to_log
) -> PublishedSide:
    """Everything that knows which installation this is."""
    installation = home.known().id
    publication = ValkeyPublication(link, layout, installation)
    return PublishedSide(
        publication=publication,
        belonging=Belonging(id=installation, home=home, store=store, publication=publication, tell=tell),
        prune=Prune(installation=installation, home=home, store=store, publication=publication),
    )


def check_server(link: Link, queue_url: str | None) -> None:
    """The certificate Valkey must keep what it is given, and must not be the queue under another name."""
    with _examining("certificate Valkey not examined"):
        for warning in check_keeps_values(link):
            log.warning("certificate Valkey may lose keys", extra={"reason": warning})
    with _examining("not known whether queue and certificate Valkey are one server"):
        _refuse_shared(link, queue_url)


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
