"""Follows one certificate's renewal through the journal until it is published, has failed, or nobody works on it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import click

from knit.cli.output import clean, instant, styled
from knit.cli.result import Result
from knit.cli.steps import Steps
from knit.cli.waited import DOING, Queued, asked_to_wait, lacking, waiting_for
from knit.core.model.certificate import CertId
from knit.core.model.listing import Listed
from knit.core.model.presence import Roll, Seen
from knit.errors import KnitError, Outage
from knit.ports.centre import Centre
from knit.ports.events import Events
from knit.ports.list import Certs

POLL = 0.25
GRACE = 15.0
"""Seconds for which nobody need be there: who is started anew is there by then."""

AWAY = 300.0
"""Seconds of an outage of PostgreSQL that are waited for."""

LONG = timedelta(minutes=15)
"""A CA that asks for a longer wait is not waited for."""

REPEAT = 60.0
"""Seconds after which what has not changed is said again."""

STARTING = "starting"

Queueing = Callable[[], Queued | None]
"""Looks at the queue."""


class Shown(Protocol):
    """Where progress goes."""

    def say(self, text: str, seconds: float) -> None:
        """What is being done now, and for how long the whole has taken."""


class Lines:
    """A line on stderr for each change, and for each minute without one."""

    def __init__(self) -> None:
        self._last = ""
        self._at = 0.0

    def say(self, text: str, seconds: float) -> None:
        if text != self._last or seconds - self._at >= REPEAT:
            click.echo(f"{seconds:5.1f} s  {text}", err=True)
            self._at = seconds
        self._last = text


class Live:
    """One line at a terminal, rewritten."""

    def say(self, text: str, seconds: float) -> None:
        click.echo(f"\r\033[K{styled(f'{seconds:5.1f} s', fg='cyan')}  {text}", err=True, nl=False)


@contextmanager
def shown() -> Iterator[Shown]:
    """Live at a terminal, else lines."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    try:
        yield Live()
    finally:
        click.echo("\r\033[K", err=True, nl=False)


class Patience:
    """For how long something has been so without a break."""

    def __init__(self) -> None:
        self._since: float | None = None

    def tried(self, so: bool) -> float:  # noqa: FBT001 -- what is so is all it is about
        """Seconds until now; 0 when it is not so."""
        now = time.monotonic()
        self._since = (self._since or now) if so else None
        return 0.0 if self._since is None else now - self._since


@dataclass(slots=True, kw_only=True)
class Follower:
    """Whoever waits for one renewal. `before` and `looked_at` are how the certificate was when it was asked for.

    `nobody`: why nobody was going to do it, when that was last looked at.
    """

    certs: Certs
    centre: Centre
    steps: Steps
    before: Listed
    looked_at: datetime | None
    queueing: Queueing = lambda: None
    nobody: str | None = None

    def follow(self) -> Result:
        """Wait for the end, or until nobody is there to bring it about.

        Raises NoSuchCertificate when it is removed meanwhile, and Outage when PostgreSQL stays away for minutes.
        """
        began, alone, away = time.monotonic(), Patience(), Patience()
        with shown() as line:
            while (result := self._look_if_possible(line, time.monotonic() - began, alone, away)) is None:
                time.sleep(POLL)
        return result

    def _look_if_possible(self, line: Shown, seconds: float, alone: Patience, away: Patience) -> Result | None:
        try:
            result = self._look(line, seconds, alone)
        except Outage as error:
            if away.tried(so=True) > AWAY:
                raise
            line.say(_outage(error), seconds)
            return None
        away.tried(so=False)
        return result

    def _look(self, line: Shown, seconds: float, alone: Patience) -> Result | None:
        _say(self.steps, line, seconds)
        now, seen, roll = self.certs.one(self.before.id), self.centre.seen(self.before.id), self.centre.roll()
        if seen is None:
            return None
        seen = self.steps.at(seen)
        queue, at = self.queueing(), datetime.now(UTC)
        idle = not seen.held and asked_to_wait(seen, at) is None
        result = ended(self.before, now, looked=idle and seen.looked_at != self.looked_at)
        if result is not None:
            _say(self.steps, line, seconds)
            return result
        line.say(waiting_for(seen, roll, queue, at), seconds)
        return self._given_up(seen, roll, queue, at, alone)

    def _given_up(self, seen: Seen, roll: Roll, queue: Queued | None, at: datetime, alone: Patience) -> Result | None:
        asked = asked_to_wait(seen, at)
        if asked is not None and asked - at > LONG:
            said = seen.error or seen.said or "it is asked too often"
            return Result(word="not done", error=f"the CA asks to wait until {instant(asked)}: {said}", until=asked)
        self.nobody = lacking(seen, roll, queue)
        if alone.tried(so=self.nobody is not None) < GRACE:
            return None
        return Result(word="not done", error=self.nobody)


@contextmanager
def told(centre: Centre, events: Events, before: Listed | None, *, asked: bool) -> Iterator[None]:
    """Tell what this process itself is doing inside: to a person at a terminal, and to whoever has `asked` for it.

    About one certificate, or without `before` about all of them. The log keeps to warnings meanwhile.
    """
    if not (asked or sys.stderr.isatty()) or logging.getLogger().isEnabledFor(logging.DEBUG):
        yield
        return
    logging.disable(logging.INFO)
    done = threading.Event()
    steps = Steps(events, None if before is None else before.id)
    tell = _tell_all if before is None else _tell_one
    thread = threading.Thread(target=tell, args=(centre, steps, before, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


HERE = Roll(renewing=1, publishing=1, alone=True, scheduled=False)
"""Who works in a process of its own."""


def _tell_one(centre: Centre, steps: Steps, before: Listed, done: threading.Event) -> None:
    began = time.monotonic()
    begun = False
    with shown() as line:
        while not done.wait(POLL):
            try:
                begun = _say(steps, line, time.monotonic() - began) or begun
                text = _doing_here(centre, steps, before.id) or ("finishing" if begun else STARTING)
            except KnitError as error:
                text = _outage(error)
            line.say(text, time.monotonic() - began)
        with suppress(KnitError):
            _say(steps, line, time.monotonic() - began)


def _doing_here(centre: Centre, steps: Steps, cert_id: CertId) -> str | None:
    """What this process does about the certificate; None before it has begun and once it has ended."""
    seen = centre.seen(cert_id)
    if seen is None:
        return None
    seen = steps.at(seen)
    return waiting_for(seen, HERE, None, datetime.now(UTC)) if seen.held or seen.step is not None else None


def _outage(error: KnitError) -> str:
    return f"waiting for PostgreSQL: {clean(str(error))}"


def _say(steps: Steps, line: Shown, seconds: float) -> bool:
    """What was begun since the last look, though it may be over by now; gives whether anything was."""
    news = [step for _, step in steps.news()]
    for step in news:
        line.say(DOING[step], seconds)
    return bool(news)


def _tell_all(centre: Centre, steps: Steps, _: None, done: threading.Event) -> None:
    began = time.monotonic()
    lines: dict[int, Lines] = {}
    abouts: dict[int, str] = {}
    over = False
    while not over:
        over = done.wait(POLL)
        try:
            news, under_way = list(steps.news()), centre.under_way()
        except KnitError as error:
            lines.setdefault(0, Lines()).say(_outage(error), time.monotonic() - began)
            continue
        abouts |= {seen.id: f"certificate {seen.id} ({clean(seen.domains)})" for seen in under_way}
        texts = [(cert_id, DOING[step]) for cert_id, step in news]
        texts += [(seen.id, waiting_for(steps.at(seen), HERE, None, datetime.now(UTC))) for seen in under_way]
        for cert_id, text in texts:
            about = abouts.get(cert_id, f"certificate {cert_id}")
            lines.setdefault(cert_id, Lines()).say(f"{about}: {text}", time.monotonic() - began)


def ended(before: Listed, now: Listed, *, looked: bool) -> Result | None:
    """The result, once there is one. `looked`: a worker has found it not due since it was asked for."""
    if now.published_at is not None and now.published_at != before.published_at:
        return Result(word="published", not_after=now.not_after)
    if now.failures > before.failures:
        return Result(word="failed", error=now.last_error, until=now.retry_at)
    if not now.enabled:
        return Result(word="failed", error="it was disabled meanwhile")
    return not_due(now, now.retry_at or now.check_at) if looked else None


def not_due(cert: Listed, until: datetime | None) -> Result:
    """A certificate that waits after a failure, or has never been issued, is not as wanted, whatever it waits for."""
    if cert.failing or cert.published_at is None:
        why = cert.last_error or "it has never been issued"
        return Result(word="failed", error=f"{why} (nothing was tried now; `--force` tries at once)", until=until)
    return Result(word="not due", until=until)
