"""Follows one certificate's renewal through the journal until it is published or has failed."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

from knit.cli.output import styled
from knit.cli.result import Result
from knit.core.model import Step
from knit.store.certs import Certs, Listed

POLL = 0.25
UNTOUCHED = 15.0
"""Seconds after which a renewal that nobody works on is remarked on."""

DOING = {
    Step.PLANNED: "making a key",
    Step.KEY_STAGED: "placing the order",
    Step.ORDERED: "proving control of the names over DNS",
    Step.FINALIZING: "the CA is issuing",
    Step.ISSUED: "issued; waiting to be published",
    Step.PUBLISHING: "publishing",
}


class Shown(Protocol):
    """Where progress goes."""

    def say(self, text: str, seconds: float) -> None:
        """What is being done now, and for how long the whole has taken."""


class Lines:
    """A line on stderr for each change."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, text: str, seconds: float) -> None:
        if text != self._last:
            click.echo(f"{seconds:5.1f} s  {text}", err=True)
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


def follow(certs: Certs, before: Listed) -> Result:
    """Wait for the end of what was asked for; `before` is the certificate as it was then.

    Raises NoSuchCertificate when it is removed meanwhile.
    """
    began = time.monotonic()
    with shown() as line:
        while True:
            now, seconds = certs.one(before.id), time.monotonic() - began
            result = ended(before, now)
            if result is not None:
                return result
            line.say(doing(now, seconds), seconds)
            time.sleep(POLL)


@contextmanager
def told(certs: Certs, before: Listed) -> Iterator[None]:
    """Tell a person at the terminal what this process itself is doing inside; the log keeps to warnings there."""
    if not sys.stderr.isatty() or logging.getLogger().isEnabledFor(logging.DEBUG):
        yield
        return
    logging.disable(logging.INFO)
    done = threading.Event()
    thread = threading.Thread(target=_tell, args=(certs, before, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell(certs: Certs, before: Listed, done: threading.Event) -> None:
    began = time.monotonic()
    text = "starting"
    with shown() as line:
        while not done.wait(POLL):
            now = certs.one(before.id)
            if now.step is not None:
                text = doing(now, 0)
            elif text != "starting":
                text = "finishing"
            line.say(text, time.monotonic() - began)


def ended(before: Listed, now: Listed) -> Result | None:
    """The result, once there is one."""
    if now.published_at is not None and now.published_at != before.published_at:
        return Result(word="published", not_after=now.not_after)
    if now.failures > before.failures:
        return Result(word="failed", error=now.last_error, until=now.retry_at)
    if not now.enabled:
        return Result(word="failed", error="it was disabled meanwhile")
    if now.step is None and now.check_at is not None and now.check_at != before.check_at:
        return Result(word="not due", until=now.check_at)
    return None


def doing(now: Listed, seconds: float) -> str:
    """What is being done, in words."""
    if now.step is not None:
        return DOING.get(Step(now.step), now.step)
    return "waiting for a worker" + ("; is one running?" if seconds > UNTOUCHED else "")
