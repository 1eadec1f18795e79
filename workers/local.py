"""The same actors in this process, on a queue in memory or on the configured one: `knit renew`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import dramatiq

from knit.app.listeners import to_all, to_log
from knit.app.names import WORKER, person
from knit.app.queue import open_queue, queue_in_memory
from knit.core.events import Kind, Told
from knit.core.model.attempt import Failed, Outcome, Renewed, Skipped
from knit.core.model.certificate import CertId
from knit.core.model.results import GivenUp, PassPlan, Publishing, Result, Revoking
from knit.errors import KnitError
from knit.flows.tick import Ticker
from knit.outages import Outages
from knit.ports.events import Listener
from knit.queue import messages
from knit.queue.base import Queue
from knit.settings.central import Scheduling, Worker
from knit.settings.environment import Environment
from knit.undumpable import keep_memory_private
from workers.actors import Actors, declare
from workers.emptied import Emptied
from workers.handing_over import EVERY as HANDING_OVER
from workers.handing_over import HandingOver
from workers.later import Later
from workers.presence import Presence
from workers.stopping import Stopping
from workers.wiring import Wired, wire

CONTROL_THREADS = 4
IDLE = 100
STOP = 7_000


@dataclass(slots=True)
class Heard:
    """How the messages of one pass ended: a listener."""

    results: list[Result] = field(default_factory=list)

    def __call__(self, told: Told | Result, /) -> None:
        if not isinstance(told, Told):
            self.results.append(told)

    @property
    def failed(self) -> int:
        """Certificates that failed in the pass, and other things a person must look at."""
        return sum(_trouble(result) for result in self.results)

    def outcome(self) -> Outcome | None:
        """How the one renewal that was asked for has ended, if it has. Raises what was given up."""
        for result in self.results:
            if isinstance(result, GivenUp):
                raise result.error
        return next((one for one in self.results if isinstance(one, Renewed | Skipped | Failed)), None)


def _trouble(result: Result) -> int:
    match result:
        case PassPlan() | Publishing():
            return result.trouble
        case Revoking(failed=failed):
            return failed
        case Failed() | GivenUp():
            return 1
    return 0


def once(settings: Worker, env: Environment, plan: PassPlan | None = None) -> int:
    """One whole pass, or what is left to do once it is planned; gives how many certificates failed.

    Raises KnitError when it could not be begun.
    """
    heard = Heard()
    queue = queue_in_memory()
    with _working(settings, env, queue, outages=Outages(), heard=heard) as working:
        if plan is None:
            # First, for what a CA says may make certificates due.
            queue.send(messages.poll())
            working.emptied.wait()
            queue.send(messages.reconcile())
        else:
            working.actors.follow(plan)
        working.emptied.wait()
    return heard.failed


def one(settings: Worker, env: Environment, cert_id: CertId) -> Outcome | None:
    """Renew one certificate and publish it; None when a bug stopped the actor."""
    heard = Heard()
    queue = queue_in_memory()
    with _working(settings, env, queue, outages=Outages(), heard=heard, to_log=_but_its_end(cert_id)) as working:
        queue.send(messages.renew(cert_id))
        working.emptied.wait()
    return heard.outcome()


def revocations(settings: Worker, env: Environment, renew: CertId | None) -> Outcome | None:
    """Go on with all revocations, and renew the certificate that one waits for; gives how that has ended."""
    heard = Heard()
    queue = queue_in_memory()
    with _working(settings, env, queue, outages=Outages(), heard=heard) as working:
        # First: what is published is copied before another takes its place.
        queue.send(messages.revoke())
        working.emptied.wait()
        if renew is not None:
            queue.send(messages.renew(renew))
            working.emptied.wait()
    return heard.outcome()


def _but_its_end(cert_id: CertId) -> Listener:
    """The log, without how this certificate's renewal has failed: whoever asked for it is told that."""

    def tell(told: Told | Result) -> None:
        match told:
            case Told(kind=Kind.RENEWAL_FAILED | Kind.RENEWAL_POSTPONED, cert_id=about) if about == cert_id:
                return
            case GivenUp(error=KnitError()):
                return
        to_log(told)

    return tell


Serve = Callable[[Ticker, timedelta, Outages], None]
"""What a scheduler does with its ticker until it is told to stop: `scheduler.main.serve`."""


def forever(settings: Worker, scheduling: Scheduling, env: Environment, serve: Serve) -> None:
    """Scheduler and workers in one process until SIGTERM or SIGINT. Raises KnitError when it cannot start."""
    outages = Outages()
    queue = queue_in_memory() if settings.queue_url is None else open_queue(settings.queue_url, outages)
    with _working(settings, env, queue, outages=outages) as working:
        opened = working.wired.opened
        ticker = Ticker(
            opened.leases,
            opened.agendas,
            lambda: queue.send(messages.reconcile()),
            scheduling.interval,
            lambda errand: queue.send(messages.errand(errand)),
        )
        serve(ticker, scheduling.interval, outages)


@dataclass(frozen=True, slots=True)
class Working:
    """Workers of this process."""

    wired: Wired
    emptied: Emptied
    actors: Actors


@contextmanager
def _working(
    settings: Worker,
    env: Environment,
    queue: Queue,
    *,
    outages: Outages,
    heard: Heard | None = None,
    to_log: Listener = to_log,
) -> Iterator[Working]:
    keep_memory_private()
    stopping = Stopping()
    tell = to_log if heard is None else to_all(to_log, heard)
    wired = wire(settings, env, stopping.sleep, outages, tell=tell, name=WORKER if heard is None else person())
    workers: list[dramatiq.Worker] = []
    try:
        queue.broker.add_middleware(stopping)
        later = Later(queue, outages)
        handing_over = HandingOver(later, HANDING_OVER if heard is None else 0)
        queue.broker.add_middleware(handing_over)
        queue.broker.add_middleware(later)
        emptied = Emptied(queue, later)
        queue.broker.add_middleware(emptied)
        if heard is None:
            alone = settings.queue_url is None
            queue.broker.add_middleware(Presence(wired.opened.centre, outages, alone=alone))
        actors = declare(
            queue,
            wired.flows if heard is None else replace(wired.flows, deep=True, follow_up=False),
            handing_over,
            later,
        )
        queue.broker.emit_after("process_boot")
        # Two pools of threads, as the Procfile has two processes: renewals that wait never delay a publication.
        for name, threads in ((messages.CONTROL, CONTROL_THREADS), (messages.RENEW, settings.concurrency)):
            workers.append(dramatiq.Worker(queue.broker, queues={name}, worker_threads=threads, worker_timeout=IDLE))
            workers[-1].start()
        yield Working(wired, emptied, actors)
    finally:
        _stop(workers)
        queue.close()
        wired.opened.close()


def _stop(workers: Sequence[dramatiq.Worker]) -> None:
    """All at the same time: each waits for its threads to see that nothing more comes."""
    stops = [threading.Thread(target=worker.stop, kwargs={"timeout": STOP}) for worker in workers]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join()
