"""A changed list is acted on within seconds where a centre runs; elsewhere the command says what to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from knit.cli.session import connected, listed_in

if TYPE_CHECKING:
    from knit.settings.central import Central
    from knit.store.database import Database
    from knit.store.list.certs import Certs

RUNNING = "The running centre acts on it within seconds."
QUEUED = "No scheduler runs: workers act on it as soon as one is there."
NOBODY = "Nothing happens before a centre runs: `knit renew` is one, and `knit renew --once` acts on it now."


@contextmanager
def changing(central: Central, *, quiet: bool) -> Iterator[Certs]:
    """The list, for a command that changes it: afterwards the centre is told, and a person when it happens."""
    with connected(central) as database:
        yield listed_in(database, central)
        said = _told(central, database)
    if not quiet:
        click.echo(said, err=True)


def _told(central: Central, database: Database) -> str:
    from knit.store.passes.agenda import Agendas

    agendas = Agendas(database)
    agendas.change()
    if agendas.scheduled():
        return RUNNING
    return QUEUED if central.queue_url is not None and _sent(central.queue_url) else NOBODY


def _sent(queue_url: str) -> bool:
    from knit import messages
    from knit.errors import KnitError

    try:
        queue = messages.connect(queue_url)
        queue.send(messages.reconcile())
        queue.close()
    except KnitError:
        return False
    return True
