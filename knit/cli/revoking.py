"""The revocation of one certificate: by the workers, or in this process."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from knit.cli.progress import GRACE, POLL, Patience, Shown, shown, told
from knit.cli.renewing import AGAIN, Post, interruptible
from knit.cli.waited import RENEWERS, Queued, asked_to_wait, lacking, to_start, waiting_for
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.core.model.listing import Listed
    from knit.core.model.revocation import Revocation


def post(url: str, asked: Revocation) -> Post:
    """What workers are told about it."""
    from knit.queue import messages

    renewing = [messages.renew(asked.cert_id)] if asked.waits else []
    return Post(url, messages.revoke(), *renewing)


def by_workers(post: Post, console: Console, before: Listed | None, asked: Revocation, *, wait: bool) -> str | None:
    """Ask the workers for it, and follow what they do if asked to; gives why nobody is going to do it."""
    queued = post.look()
    if wait:
        return _Following(console, before, asked, post).follow()
    if queued.error is not None:
        return f"{queued.error}; it is recorded, and done once the queue is back"
    roll = console.centre.roll()
    if not (roll.renewing or roll.alone):
        click.echo(f"knit: {to_start([RENEWERS])}", err=True)
    return None


def here(console: Console, before: Listed | None, asked: Revocation, *, wait: bool) -> None:
    """Do it in this process, as soon as no other one is on it."""
    from knit.core.model.attempt import Skipped
    from knit.settings.central import Worker
    from workers import local

    env = Environment.of_process()
    worker = Worker.read(env, queue_required=False)
    renew = asked.cert_id if asked.waits else None
    with interruptible(console.centre.roll()), told(console.centre, console.events, before, asked=wait):
        while isinstance(outcome := local.revocations(worker, env, renew), Skipped) and outcome.busy:
            time.sleep(AGAIN)


class _Following:
    """Whoever waits for it."""

    def __init__(self, console: Console, before: Listed | None, asked: Revocation, post: Post) -> None:
        self._console, self._before, self._asked, self._post = console, before, asked, post
        self._alone = Patience()

    def follow(self) -> str | None:
        """Until it is over, fails, or nobody is there to do it: then the reason."""
        began = time.monotonic()
        with shown() as line:
            while True:
                over, nobody = self._look(line, time.monotonic() - began)
                if over or nobody is not None:
                    return nobody
                time.sleep(POLL)

    def _look(self, line: Shown, seconds: float) -> tuple[bool, str | None]:
        one = self._console.revocations.one(self._asked.id)
        if one is None or one.state != "wanted" or one.error is not None:
            return True, None
        queue, centre = self._post.look(), self._console.centre
        seen, roll = centre.seen(self._asked.cert_id), centre.roll()
        if not one.waits or one.copy == "wanted" or seen is None:
            line.say(_doing(one, queue, away=not (roll.renewing or roll.alone)), seconds)
            absent = queue.error or (None if roll.renewing or roll.alone else to_start([RENEWERS]))
            return False, self._given_up(absent)
        if self._before is not None and self._console.certs.one(self._before.id).failures > self._before.failures:
            return True, None
        now = datetime.now(UTC)
        line.say(f"another certificate first: {waiting_for(seen, roll, queue, now)}", seconds)
        asked = asked_to_wait(seen, now)
        return asked is not None, self._given_up(lacking(seen, roll, queue))

    def _given_up(self, absent: str | None) -> str | None:
        return None if self._alone.tried(so=absent is not None) < GRACE else absent


def _doing(one: Revocation, queue: Queued, *, away: bool) -> str:
    if queue.error is not None:
        return f"waiting for the queue: {queue.error}"
    if away:
        return f"waiting for a worker: {RENEWERS} does not run"
    return "copying what is published" if one.copy == "wanted" else "asking the CA to revoke it"
