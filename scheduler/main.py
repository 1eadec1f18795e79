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
from knit.store.leases import PostgresLeases
from knit.store.pool import open_pool

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
        assert settings.queue_url is not None
        logs.setup(settings.log_level)
        with open_pool(settings.db_url, size=2) as pool, PostgresLeases(pool) as leases:
            queue = messages.connect(settings.queue_url)
            serve(Ticker(leases, lambda: queue.send(messages.reconcile())), settings.interval)
    except KnitError as error:
        print(f"knit scheduler: {error}", file=sys.stderr)
        return 2 if isinstance(error, Misconfigured) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
