"""What a scheduler has open: the agenda, and the lease that makes it the one that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knit.app.names import SCHEDULER
from knit.core.agenda import Errand
from knit.flows.tick import Ticker
from knit.settings.central import Scheduling
from knit.store.database import Database
from knit.store.leases.leases import Leases
from knit.store.passes.agenda import Agendas


@contextmanager
def open_scheduler(
    settings: Scheduling, send: Callable[[], None], send_errand: Callable[[Errand], None]
) -> Iterator[Ticker]:
    """What calls `send` whenever a pass is due, and `send_errand` when there is something else to do.

    Raises KnitError when PostgreSQL cannot be had.
    """
    with Database.open(settings.db_url, connections=2, name=SCHEDULER) as database:
        leases = Leases(database)
        try:
            yield Ticker(leases, Agendas(database), send, settings.interval, send_errand)
        finally:
            leases.stop()
