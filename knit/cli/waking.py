"""A changed list is acted on within seconds where a centre runs; elsewhere the command says what to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from knit.app.waking import Hears, wake
from knit.cli.session import connected

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.settings.central import Central

SAID = {
    Hears.CENTRE: "The running centre acts on it within seconds.",
    Hears.WORKERS: "No scheduler runs: workers act on it as soon as one is there.",
    Hears.NOBODY: "Nothing happens before a centre runs: `knit renew` is one, and `knit renew --once` acts on it now.",
}


@contextmanager
def changing(central: Central, *, quiet: bool) -> Iterator[Console]:
    """What is open, for a command that changes it: afterwards the centre is told, and a person when it happens."""
    with connected(central) as console:
        yield console
        hears = wake(console.bell, central.queue_url)
    if not quiet:
        click.echo(SAID[hears], err=True)
