"""The actors: each unpacks a message, calls one flow, and sends what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import dramatiq

from knit.app.listeners import to_log
from knit.core import ari, retry
from knit.core.events import KEPT
from knit.core.model.attempt import Failed, Renewed, Skipped
from knit.core.model.certificate import CertId
from knit.core.model.results import GivenUp, PassPlan
from knit.errors import Busy, Interrupted, KnitError, LeaseLost, Transient
from knit.flows.collect import Collect
from knit.flows.poll import Poll
from knit.flows.publish import Publish
from knit.flows.reconcile import Reconcile
from knit.flows.renew import Renew
from knit.flows.revoke import Revoke
from knit.outages import Outages
from knit.ports.events import Listener
from knit.ports.process import Clock, Retries
from knit.queue import messages
from knit.queue.base import Queue
from knit.queue.messages import Message
from workers.fan_out import fan_out
from workers.later import Later

log = logging.getLogger(__name__)

SOON = timedelta(hours=3)
"""A next try within this gets a message of its own; a later one is found by a pass."""

SLACK = timedelta(seconds=1)
"""A hint a little late is good; one that another worker's clock finds early is lost until the next pass."""

BUSY = timedelta(seconds=10)
"""When to look again at a certificate that another worker is on: a dead worker's message may be back before its lease
is free, and without another look nothing would happen before the next pass."""

PARKED = timedelta(minutes=10)
"""When a retry that found no room is looked at whatever happens; mostly its turn comes sooner."""

FULL, APART = timedelta(seconds=1), timedelta(milliseconds=20)
"""When to look again at a certificate whose issuer has enough orders in flight: the more of them wait, the later."""

NEXT = timedelta(milliseconds=1)
"""Not at once, so that what is owed is sent sooner rather than twice."""

SLOWLY = 6
"""What a person must mend is tried again as if it had been tried in vain so often: after a minute at the soonest."""

BY_LIFETIME = "what the CA last said, for three days; then certificates are renewed by their lifetime"

PUBLISH_AT_ONCE = 3
"""How often a pass that must end tries again to publish."""

BUSY_AT_ONCE = 9
"""How often, over a minute, such a pass waits for another process that publishes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """What the actors of one process call. `tell` hears how each message ended; with `follow_up` more come later."""

    reconcile: Reconcile
    renew: Renew
    publish: Publish
    poll: Poll
    revoke: Revoke
    collect: Collect
    clock: Clock
    retries: Retries | None = None
    outages: Outages = field(default_factory=Outages)
    deep: bool = False
    follow_up: bool = True
    tell: Listener = to_log


def declare(queue: Queue, flows: Flows, handed_over: Callable[[CertId], None], later: Later) -> Actors:
    """Declare the six actors on this queue. `handed_over` is called for each bundle that waits to be published."""
    actors = Actors(queue=queue, flows=flows, handed_over=handed_over, later=later)

    def reconcile(tries: int = 0) -> None:
        with actors.trying(messages.reconcile, tries):
            actors.reconcile()

    def renew(cert_id: int, tries: int = 0) -> None:
        with actors.trying(lambda tries: messages.renew(CertId(cert_id), tries=tries), tries):
            actors.renew(CertId(cert_id))

    def publish(cert_id: int | None, tries: int = 0) -> None:
        about = None if cert_id is None else CertId(cert_id)
        with actors.trying(lambda tries: messages.publish(about, tries=tries), tries):
            actors.publish(about, tries)

    dramatiq.actor(broker=queue.broker, queue_name=messages.CONTROL)(reconcile)
    dramatiq.actor(broker=queue.broker, queue_name=messages.RENEW)(renew)
    dramatiq.actor(broker=queue.broker, queue_name=messages.CONTROL)(publish)

    def poll(tries: int = 0) -> None:
        with actors.trying(messages.poll, tries):
            actors.poll()

    def revoke(tries: int = 0) -> None:
        with actors.trying(messages.revoke, tries):
            actors.revoke()

    def collect(tries: int = 0) -> None:
        with actors.trying(messages.collect, tries):
            actors.flows.collect.run()

    dramatiq.actor(broker=queue.broker, queue_name=messages.RENEW)(poll)
    dramatiq.actor(broker=queue.broker, queue_name=messages.RENEW)(revoke)
    dramatiq.actor(broker=queue.broker, queue_name=messages.CONTROL)(collect)
    return actors


@dataclass(frozen=True, slots=True, kw_only=True)
class Actors:
    """What the six do, and how each is tried again."""

    queue: Queue
    flows: Flows
    handed_over: Callable[[CertId], None]
    later: Later

    def reconcile(self) -> None:
        """A pass: one message for each certificate that needs a worker."""
        self.follow(self.flows.reconcile.run(deep=self.flows.deep))

    def follow(self, plan: PassPlan) -> None:
        """Send what follows from a pass."""
        self.flows.tell(plan)
        fan_out(plan, self.flows.reconcile, self.queue, self.later)
        self._revoke_if_due()

    def renew(self, cert_id: CertId) -> None:
        """Renew it if it is due, and say when to look again."""
        try:
            outcome = self.flows.renew.run(cert_id)
            if isinstance(outcome, Skipped) and outcome.queued:
                self._line_up(cert_id)
                return
            if isinstance(outcome, Skipped) and outcome.full:
                self.later.send(messages.renew(cert_id), delay=FULL + APART * self.later.owing)
                return
        finally:
            self._next_retry()
        self.flows.tell(outcome)
        if isinstance(outcome, Renewed):
            self.handed_over(cert_id)
            if outcome.leftovers:
                # Another certificate had what the removal needed: that is waited for here, not on a thread.
                self.later.send(messages.renew(cert_id), delay=BUSY)
        elif isinstance(outcome, Skipped) and outcome.busy and self.flows.follow_up:
            self.later.send(messages.renew(cert_id), delay=BUSY)
        elif isinstance(outcome, Failed) and outcome.retry_at is not None and self.flows.follow_up:
            delay = outcome.retry_at - self.flows.clock()
            if delay < SOON:
                self.later.send(messages.renew(cert_id), delay=delay + SLACK)

    def _line_up(self, cert_id: CertId) -> None:
        # Owed first: what a turn that comes meanwhile sends takes its place.
        self.later.send(messages.renew(cert_id), delay=PARKED)
        if self.flows.retries is not None:
            self.flows.retries.line_up(cert_id)

    def _next_retry(self) -> None:
        """The one whose turn has come is already owed to the queue, for later: now is sooner."""
        if self.flows.retries is not None and (cert_id := self.flows.retries.freed()) is not None:
            self.later.send(messages.renew(cert_id), delay=NEXT)

    def publish(self, cert_id: CertId | None, tries: int) -> None:
        """Publish what waits; for None also refresh and prune."""
        flow = self.flows.publish
        report = flow.everything() if cert_id is None else flow.waiting(begun=tries > 0)
        self.flows.tell(report)
        self._revoke_if_due()

    def poll(self) -> None:
        """Ask CAs about the certificates whose turn it is; others are asked about by another message."""
        polled = self.flows.poll.run()
        for issuer, error in polled.down.items():
            self.flows.outages.gone(_asked(issuer), error, kept=BY_LIFETIME, again=ari.SHORTEST)
        for issuer in polled.up:
            self.flows.outages.back(_asked(issuer))
        if polled.more and self.flows.follow_up:
            self.later.send(messages.poll(), delay=NEXT)

    def revoke(self) -> None:
        """Go on with what is to be revoked."""
        report = self.flows.revoke.run()
        self.flows.tell(report)
        if report.copied:
            # Publications, and removals, have waited for that.
            self.later.send(messages.publish())
        if report.more:
            self.later.send(messages.revoke(), delay=NEXT)

    def _revoke_if_due(self) -> None:
        """What is published may be what a revocation waits for, or wait for a revocation's copy itself."""
        if self.flows.revoke.due():
            self.later.send(messages.revoke())

    @contextmanager
    def trying(self, again: Callable[[int], Message], tries: int) -> Iterator[None]:
        """The edge of each actor: what could not be done is logged once, and its message comes again, later and later.

        The journal and the list say what there is to do, so a message that comes again finds out what is left of it.
        """
        message = again(tries)
        try:
            yield
        except Interrupted:
            self.later.send(message)
        except LeaseLost as error:
            log.warning("broken off: the lease is lost", extra={"error": str(error)})
            if self.flows.follow_up:
                self.later.send(message, delay=BUSY)
        except Busy as error:
            # What a certificate needs is free at the latest when the process that holds it has died.
            if self.flows.follow_up or message.actor_name == messages.RENEW or tries < BUSY_AT_ONCE:
                self.later.send(again(tries + 1), delay=_apart(message, min(retry.again(tries), BUSY), tries))
            else:
                self._put_off(error, again(tries + 1), tries)
        except KnitError as error:
            self._put_off(error, again(tries + 1), tries)
        except Exception as bug:  # noqa: BLE001 -- the process edge: whoever listens gets all of it
            self._give_up(message, bug)
        else:
            self.flows.outages.back(message.actor_name)

    def _put_off(self, error: KnitError, message: Message, tries: int) -> None:
        if not self._may_try_again(error, message, tries):
            self._give_up(message, error)
            return
        delay = retry.again(tries if isinstance(error, Transient) else max(tries, SLOWLY))
        self.flows.outages.gone(message.actor_name, error, kept=KEPT, again=delay)
        self.later.send(message, delay=delay)

    def _give_up(self, message: Message, error: Exception) -> None:
        self.flows.tell(GivenUp(what=message.actor_name, about=tuple(message.args), error=error))

    def _may_try_again(self, error: KnitError, message: Message, tries: int) -> bool:
        if self.flows.follow_up:
            return True
        return message.actor_name == "publish" and isinstance(error, Transient) and tries < PUBLISH_AT_ONCE


def _asked(issuer: str) -> str:
    return f"renewal information of issuer {issuer}"


def _apart(message: Message, wait: timedelta, tries: int) -> timedelta:
    match message.args:
        case (int(cert_id), *_):
            return retry.scattered(wait, CertId(cert_id), tries)
    return wait
