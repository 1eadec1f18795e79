"""The scheduler process: `python -m scheduler.main`."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.blocking import BlockingScheduler

from knit import log as logs
from knit import messages
from knit.errors import KnitError, Misconfigured
from knit.flows.tick import Ticker
from knit.settings.central import Scheduling
from knit.settings.environment import Environment
from knit.store.database import Database
from knit.store.leases import Leases

log = logging.getLogger(__name__)

LOOK = timedelta(seconds=5)


def serve(ticker: Ticker, interval: timedelta) -> None:
    """Tick at once, then every interval, until SIGTERM or SIGINT. Raises KnitError when the first look fails.

    A late run is neither skipped nor doubled: ticks that were missed become one.
    """
    ticker.look()
    defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    scheduler = BlockingScheduler(timezone=UTC, job_defaults=defaults)
    scheduler.add_job(_safe(ticker.tick), "interval", seconds=interval.total_seconds(), id="tick")
    scheduler.add_job(_safe(ticker.look), "interval", seconds=LOOK.total_seconds(), id="look", next_run_time=_now())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False))
    try:
        scheduler.start()
    finally:
        ticker.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _safe(job: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            job()
        except KnitError as error:
            log.error("tick failed", extra={"error": str(error)})  # noqa: TRY400 -- the text is the whole story

    return run


def main() -> int:
    """Exit code 0 after a signal, 1 when Postgres or the queue is away at the start, 2 for a wrong setting."""
    try:
        settings = Scheduling.read(Environment.of_process(), queue_required=True)
        logs.setup(settings.log_level)
        _run(settings, messages.connect(settings.queue_url or ""))
    except KnitError as error:
        sys.stderr.write(f"knit scheduler: {error}\n")
        return 2 if isinstance(error, Misconfigured) else 1
    return 0


def _run(settings: Scheduling, queue: messages.Queue) -> None:
    with Database.open(settings.db_url, connections=2) as database:
        leases = Leases(database)
        try:
            serve(Ticker(leases, lambda: queue.send(messages.reconcile())), settings.interval)
        finally:
            leases.stop()


if __name__ == "__main__":
    sys.exit(main())
