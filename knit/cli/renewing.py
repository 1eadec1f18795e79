"""The renewal of one certificate: by the workers, or in this process."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

import click

from knit.cli.progress import Follower, not_due, told
from knit.cli.result import Result
from knit.cli.steps import Steps
from knit.cli.waited import PUBLISHERS, RENEWERS, Queued, to_start
from knit.errors import CredentialsRejected, KnitError, Outage
from knit.settings.environment import Environment
from knit.signals import ENDING

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.core.model.attempt import Outcome
    from knit.core.model.certificate import CertId
    from knit.core.model.listing import Listed
    from knit.core.model.presence import Roll
    from knit.queue.base import Queue
    from knit.queue.messages import Message

EVERY = 1.0
"""Seconds between two looks at the queue."""

AGAIN = 2.0
"""Seconds between two looks whether another process is done with it."""

UNSCHEDULED = "No scheduler runs: certificates are renewed only when somebody asks."


class Post:
    """The messages about one certificate, and the queue they go to, which may be away for a while."""

    def __init__(self, url: str, *messages: Message) -> None:
        from knit.app.queue import open_queue

        self._url = url
        self._messages = messages
        self._queue: Queue | None = open_queue(url)
        self._sent = False
        self._next = 0.0
        self._known = Queued()

    def look(self) -> Queued:
        """Send what is not sent yet, and see what waits."""
        if time.monotonic() >= self._next:
            self._known = self._looked()
            self._next = time.monotonic() + EVERY
        return self._known

    def close(self) -> None:
        """Close the connection."""
        queue, self._queue = self._queue, None
        if queue is not None:
            with suppress(KnitError):
                queue.close()

    def _looked(self) -> Queued:
        from knit.app.queue import open_queue
        from knit.queue import messages

        try:
            self._queue = self._queue or open_queue(self._url)
            if not self._sent:
                for message in self._messages:
                    self._queue.send(message)
                self._sent = True
            return Queued(messages=self._queue.waiting(messages.RENEW))
        except (Outage, CredentialsRejected) as error:
            self.close()
            return Queued(error=str(error))


def by_workers(post: Post, console: Console, before: Listed, *, wait: bool) -> Result:
    """Ask the workers for it, and follow what they do if asked to. Raises Outage when the queue does not answer."""
    centre = console.centre
    steps, was = Steps(console.events, before.id), centre.seen(before.id)
    queued, roll = post.look(), centre.roll()
    if queued.error is not None or not roll.renewing:
        # Nobody may get the message: a scheduler, or the pass with which one starts, sees to it.
        console.bell.change()
    if wait:
        looked_at = None if was is None else was.looked_at
        return _followed(
            Follower(
                certs=console.certs, centre=centre, steps=steps, before=before, looked_at=looked_at, queueing=post.look
            ),
            before,
        )
    if queued.error is not None:
        raise Outage(f"KNIT_QUEUE_URL: {queued.error}; {_recorded(before.id, roll)}")
    return _queued(roll)


def _recorded(cert_id: CertId, roll: Roll) -> str:
    if roll.scheduled:
        return f"the request is recorded: the scheduler has certificate {cert_id} looked at once the queue is back"
    return f"the request is recorded: the next pass renews certificate {cert_id}, if it is due"


def _queued(roll: Roll) -> Result:
    if not (roll.scheduled or roll.alone):
        click.echo(UNSCHEDULED, err=True)
    more = {"workers": bool(roll.renewing or roll.alone), "scheduler": roll.scheduled}
    absent = [name for name, there in ((RENEWERS, roll.renewing), (PUBLISHERS, roll.publishing)) if not there]
    if not absent or (roll.alone and not roll.renewing):
        word = "queued for the workers" if roll.renewing else "left to the running centre, which acts within seconds"
        return Result(word="queued", error=word, more=more)
    return Result(word="queued", error=f"queued; {to_start(absent)}", more=more)


def _followed(follower: Follower, before: Listed) -> Result:
    try:
        return follower.follow()
    except KeyboardInterrupt:
        _say_interrupted(
            f"it begins once somebody works: {follower.nobody}"
            if follower.nobody
            else f"the workers go on with it; `knit show {before.id}` tells how far they are"
        )
        raise


def _say_interrupted(what: str) -> None:
    start = "\r\033[K" if sys.stderr.isatty() else ""
    click.echo(f"{start}knit: interrupted; {what}", err=True)


def here(console: Console, before: Listed, *, wait: bool) -> Result:
    """Do it in this process, as soon as no other one is on it."""
    from knit.flows.renew import ANOTHER
    from knit.settings.central import Worker
    from workers import local

    env = Environment.of_process()
    worker = Worker.read(env, queue_required=False)
    with interruptible(console.centre.roll()), told(console.centre, console.events, before, asked=wait):
        outcome = local.one(worker, env, before.id)
        while getattr(outcome, "reason", None) == ANOTHER:
            time.sleep(AGAIN)
            outcome = local.one(worker, env, before.id)
    return _result(outcome, before, console.certs.one(before.id))


@contextmanager
def interruptible(roll: Roll) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGQUIT are answered at once, and what is under way stops in order.

    A second one ends everything.
    """
    later = "the running centre goes on" if roll.alone or roll.renewing else "the next `knit renew` goes on"

    def answer(_number: int, _frame: FrameType | None) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        _say_interrupted(f"what is under way stops in order, within 10 s, and {later} with the same order")
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, answer)) for number in ENDING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _result(outcome: Outcome | None, before: Listed, now: Listed) -> Result:
    from knit.core.model.attempt import Failed, Skipped

    if now.published_at is not None and now.published_at != before.published_at:
        return Result(word="published", not_after=now.not_after)
    match outcome:
        case Skipped(until=until, reason=reason):
            return Result(word="skipped", error=reason) if until is None else not_due(now, until)
        case Failed(error=error, retry_at=retry_at):
            return Result(word="failed", error=error, until=retry_at)
    return Result(word="failed", error=now.last_error or "issued, but not published: the log says why")
