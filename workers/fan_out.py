"""What a pass sends: a message for each certificate that needs a worker, and one to publish what there is."""

from __future__ import annotations

from knit.core.model.results import PassPlan
from knit.flows.reconcile import Reconcile
from knit.queue import messages
from knit.queue.base import Queue
from workers.later import Later


def fan_out(plan: PassPlan, reconcile: Reconcile, queue: Queue, later: Later) -> None:
    """Send it; the pass is done then."""
    # While as many messages wait on the queue, those of earlier passes are among them. If fewer do, some were lost, as
    # with a worker that was killed while it owed them to the queue.
    asked = plan.asked if queue.waiting(messages.RENEW) >= len(plan.asked) else frozenset()
    ask = [cert_id for cert_id in plan.renew if cert_id not in asked]
    for cert_id in ask:
        later.send(messages.renew(cert_id))
    later.send(messages.publish())
    reconcile.done(plan, ask)
