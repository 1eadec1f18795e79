"""The scheduler process: `python -m scheduler.main`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger

from knit import log as logs
from knit.app.queue import open_queue
from knit.app.scheduler import open_scheduler
from knit.errors import KnitError, Misconfigured
from knit.flows.tick import Ticker
from knit.outages import Outages
from knit.queue import messages
from knit.queue.base import Queue
from knit.settings.central import Scheduling
from knit.settings.environment import Environment
from knit.signals import ENDING, leave, pass_over
from knit.undumpable import keep_memory_private

log = logging.getLogger(__name__)

LOOK = timedelta(seconds=2)


class Pause(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """The next look comes a pause after the last, whatever the clock says meanwhile.

    An interval of APScheduler's own counts all that it missed when the clock is set forward, one by one: a machine
    that starts in 1970 and then learns the date runs out of memory over it.
    """

    def __init__(self, pause: timedelta) -> None:
        self.pause = pause

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """See APScheduler."""
        return now + self.pause


def serve(ticker: Ticker, interval: timedelta, outages: Outages) -> None:
    """Look every few seconds whether a pass is due, until SIGTERM, SIGINT or SIGQUIT; SIGHUP asks for one.

    Raises KnitError when it cannot begin.

    A late look is neither skipped nor doubled: those that were missed become one.
    """
    ticker.look()
    pause = min(LOOK, interval / 4)
    defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    scheduler = BlockingScheduler(timezone=UTC, job_defaults=defaults)
    scheduler.add_job(_safe(ticker.look, outages, pause), Pause(pause), id="look")
    for number in ENDING:
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False) if scheduler.running else sys.exit(0))
    signal.signal(signal.SIGHUP, lambda *_: ticker.ask())
    over = threading.Event()
    threading.Thread(target=_keep_time, args=(scheduler, pause, over), daemon=True).start()
    try:
        scheduler.start()
    finally:
        over.set()
        ticker.close()


def _keep_time(scheduler: BlockingScheduler, pause: timedelta, over: threading.Event) -> None:
    """Where the clock has been set back, do not wait until it says again what it said before."""
    while not over.wait(pause.total_seconds()):
        now = datetime.now(UTC)
        # There is no job before the scheduler has begun, and none once it has ended.
        planned = getattr(scheduler.get_job("look"), "next_run_time", None)
        if planned is not None and planned > now + 2 * pause:
            log.warning("the clock was set back", extra={"by": f"{(planned - now).total_seconds():.0f}s"})
            scheduler.modify_job("look", next_run_time=now)


def _safe(look: Callable[[], None], outages: Outages, pause: timedelta) -> Callable[[], None]:
    def run() -> None:
        try:
            look()
        except KnitError as error:
            outages.gone("scheduler", error, kept="the pass is asked for as soon as it can be", again=pause)
        except Exception:  # the process edge: the next look may do better
            log.exception("bug in knit: a look at the agenda failed")
        else:
            outages.back("scheduler")

    return run


def main() -> int:
    """Exit code 0 after a signal, 1 when Postgres or the queue is away at the start, 2 for a wrong setting."""
    # A start asks for a pass anyway.
    pass_over(signal.SIGHUP)
    leave()
    keep_memory_private()
    try:
        settings = Scheduling.read(Environment.of_process(), queue_required=True)
        logs.setup(settings.log_level)
        _run(settings, open_queue(settings.queue_url or ""))
    except KnitError as error:
        logs.last_words(f"knit scheduler: {error}")
        return 2 if isinstance(error, Misconfigured) else 1
    return 0


def _run(settings: Scheduling, queue: Queue) -> None:
    with open_scheduler(
        settings, lambda: queue.send(messages.reconcile()), lambda errand: queue.send(messages.errand(errand))
    ) as ticker:
        serve(ticker, settings.interval, Outages())


if __name__ == "__main__":
    sys.exit(main())
