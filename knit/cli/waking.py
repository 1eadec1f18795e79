"""A changed list is acted on within seconds where a centre runs; elsewhere the command says what to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from knit.cli.session import connected

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.ports.centre import Bell
    from knit.settings.central import Central

RUNNING = "The running centre acts on it within seconds."
QUEUED = "No scheduler runs: workers act on it as soon as one is there."
NOBODY = "Nothing happens before a centre runs: `knit renew` is one, and `knit renew --once` acts on it now."


@contextmanager
def changing(central: Central, *, quiet: bool) -> Iterator[Console]:
    """What is open, for a command that changes it: afterwards the centre is told, and a person when it happens."""
    with connected(central) as console:
        yield console
        said = _told(central, console.bell)
    if not quiet:
        click.echo(said, err=True)


def _told(central: Central, bell: Bell) -> str:
    bell.change()
    if bell.scheduled():
        return RUNNING
    return QUEUED if central.queue_url is not None and _sent(central.queue_url) else NOBODY


def _sent(queue_url: str) -> bool:
    from knit.app.queue import open_queue
    from knit.errors import KnitError
    from knit.queue import messages

    try:
        queue = open_queue(queue_url)
        queue.send(messages.reconcile())
        queue.close()
    except KnitError:
        return False
    return True
