"""The actors: each unpacks a message, calls one flow, and sends what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import dramatiq

from knit import messages
from knit.core.model import CertId, Failed, Outcome, Renewed, Skipped
from knit.errors import Interrupted, KnitError, LeaseLost, Transient
from knit.flows.publish import Publish, Report
from knit.flows.reconcile import PassPlan, Reconcile
from knit.flows.renew import KEPT, Renew
from knit.messages import Queue
from knit.ports import Clock

log = logging.getLogger(__name__)

SOON = timedelta(hours=3)
"""A next try within this gets a delayed message; a later one is found by a pass."""

SLACK = timedelta(seconds=1)
"""A hint a little late is good; one that another worker's clock finds early is lost until the next pass."""

BUSY = timedelta(seconds=30)
"""When to look again at a certificate that another worker is on: a dead worker's message is back long before its lease
is free, and without another look nothing would happen before the next pass."""

PUBLISH_AGAIN = (0.5, 2, 5, 15, 60, 300)
"""Seconds between tries to publish while Valkey or Postgres is away; after them the next pass publishes."""

PUBLISH_AT_ONCE = 3
"""How many of them a pass that must end takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """What the actors of one process call. The watchers hear each result; `follow_up` sends delayed hints."""

    reconcile: Reconcile
    renew: Renew
    publish: Publish
    clock: Clock
    deep: bool = False
    follow_up: bool = True
    on_pass: Callable[[PassPlan], None] = lambda _: None
    on_outcome: Callable[[Outcome], None] = lambda _: None
    on_publish: Callable[[Report], None] = lambda _: None
    on_error: Callable[[Exception], None] = lambda _: None


def declare(queue: Queue, flows: Flows, handed_over: Callable[[CertId], None]) -> None:
    """Declare the three actors on this queue. `handed_over` is called for each bundle that waits to be published."""

    def reconcile() -> None:
        with _edge(flows):
            plan = flows.reconcile.run(deep=flows.deep)
            flows.on_pass(plan)
            for cert_id in plan.renew:
                queue.send(messages.renew(cert_id))
            queue.send(messages.publish())

    def renew(cert_id: int) -> None:
        with _edge(flows):
            _renew(queue, flows, CertId(cert_id), handed_over)

    def publish(cert_id: int | None, tries: int) -> None:
        with _edge(flows):
            _publish(queue, flows, cert_id, tries)

    dramatiq.actor(broker=queue.broker, queue_name=messages.CONTROL)(reconcile)
    dramatiq.actor(broker=queue.broker, queue_name=messages.RENEW)(renew)
    dramatiq.actor(broker=queue.broker, queue_name=messages.CONTROL)(publish)


@contextmanager
def _edge(flows: Flows) -> Iterator[None]:
    """What a flow raises on purpose is logged once; the journal and the next pass know the rest."""
    try:
        yield
    except LeaseLost as error:
        log.warning("taken over by another worker", extra={"error": str(error)})
    except KnitError as error:
        log.error("actor stopped", extra={"error": str(error), "kind": type(error).__name__})  # noqa: TRY400 -- the text is the whole story
        flows.on_error(error)
    except Exception as bug:  # the process edge: Dramatiq logs it with its trace, a pass that must report hears of it
        flows.on_error(bug)
        raise


def _renew(queue: Queue, flows: Flows, cert_id: CertId, handed_over: Callable[[CertId], None]) -> None:
    try:
        outcome = flows.renew.run(cert_id)
    except Interrupted:
        queue.send(messages.renew(cert_id))
        return
    flows.on_outcome(outcome)
    if isinstance(outcome, Renewed):
        handed_over(cert_id)
    elif isinstance(outcome, Skipped) and outcome.busy and flows.follow_up:
        queue.send(messages.renew(cert_id), delay=BUSY)
    elif isinstance(outcome, Failed) and outcome.retry_at is not None and flows.follow_up:
        delay = outcome.retry_at - flows.clock()
        if delay < SOON:
            queue.send(messages.renew(cert_id), delay=delay + SLACK)


def _publish(queue: Queue, flows: Flows, cert_id: int | None, tries: int) -> None:
    try:
        report = flows.publish.everything() if cert_id is None else flows.publish.waiting(begun=tries > 0)
    except Transient as error:
        if tries >= (len(PUBLISH_AGAIN) if flows.follow_up else PUBLISH_AT_ONCE):
            raise
        again = messages.publish(None if cert_id is None else CertId(cert_id), tries=tries + 1)
        delay = timedelta(seconds=PUBLISH_AGAIN[tries])
        put_off = {"cert": cert_id, "error": str(error), "kept": KEPT, "next_try": flows.clock() + delay}
        log.warning("publication put off", extra=put_off)
        queue.send(again, delay=delay)
        return
    flows.on_publish(report)
