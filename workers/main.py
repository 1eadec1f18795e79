"""A worker process of `python -m workers --queues control` (or `renew`)."""

from __future__ import annotations

import dramatiq

from knit import log as logs
from knit.app.queue import open_queue
from knit.errors import KnitError, Misconfigured
from knit.outages import Outages
from knit.queue import messages
from knit.settings.central import Worker
from knit.settings.environment import Environment
from knit.undumpable import keep_memory_private
from workers.actors import declare
from workers.handing_over import HandingOver
from workers.later import Later
from workers.presence import Presence
from workers.stopping import Stopping, answer_signals
from workers.wiring import wire


def setup() -> None:
    """Called by dramatiq in each worker process it starts: opens everything, declares the actors.

    Ends the process with code 2 for a wrong setting and 1 when Postgres or the queue is away.
    """
    keep_memory_private()
    answer_signals()
    try:
        env = Environment.of_process()
        settings = Worker.read(env, queue_required=True)
        logs.setup(settings.log_level)
        _serve(settings, env)
    except KnitError as error:
        logs.last_words(f"knit worker: {error}")
        raise SystemExit(2 if isinstance(error, Misconfigured) else 1) from None


def _serve(settings: Worker, env: Environment) -> None:
    stopping = Stopping()
    outages = Outages()
    wired = wire(settings, env, stopping.sleep, outages)
    stopping.closes(wired.opened.close)
    wired.flows.reconcile.refusals()
    queue = open_queue(settings.queue_url or "", outages)
    queue.broker.add_middleware(stopping)
    later = Later(queue, outages)
    handing_over = HandingOver(later)
    queue.broker.add_middleware(handing_over)
    queue.broker.add_middleware(later)
    queue.broker.add_middleware(Presence(wired.opened.centre, outages, alone=False))
    declare(queue, wired.flows, handing_over, later)
    dramatiq.set_broker(queue.broker)
    # What a worker that has died did not get to say.
    later.send(messages.publish())
