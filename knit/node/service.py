"""What a service manager is told of this process, and that it is still at work: sd_notify(3), sd_watchdog_enabled(3).

Only the loop itself says that it is at work: one that hangs says nothing, and is started again.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from datetime import timedelta

from knit.errors import KnitError
from knit.ports.source import Source

log = logging.getLogger(__name__)

TIMEOUT = 1.0
"""Seconds that a message may take: a manager that does not listen must not hold a node up."""

OFTEN = 4
"""Signs of life within the time after which the manager ends this process: one may come late."""


class Manager:
    """The service manager at `address`, the path of a socket or `@` and an abstract name; None: there is none.

    `watchdog` is the time after which it ends a process that gives no sign of life; None: it does not.
    """

    def __init__(self, address: str | None, watchdog: timedelta | None) -> None:
        self._address = None if address is None else _in_system(address)
        self._every = None if watchdog is None or address is None else watchdog.total_seconds() / OFTEN
        self._next = 0.0

    def ready(self) -> None:
        """The first look at everything is over."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """This process has begun to end."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Call it at each step: it says so as often as needed."""
        now = time.monotonic()
        if self._every is not None and now >= self._next:
            self._next = now + self._every
            self._tell("WATCHDOG=1")

    def step(self, seconds: float) -> float:
        """The part of this time that may pass before `alive` is called again."""
        return seconds if self._every is None else min(seconds, max(self._next - time.monotonic(), 0.0))

    def sleep(self, seconds: float) -> None:
        """Sleep, giving signs of life."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.alive()
            time.sleep(self.step(left))

    def _tell(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
                speaking.settimeout(TIMEOUT)
                speaking.sendto(message.encode(), self._address)
        except OSError as error:
            log.debug("the service manager does not listen", extra={"cause": error.strerror or "it takes too long"})


class Sounding:
    """A source whose every question is a sign of life: a pass over many certificates asks for some at a time."""

    def __init__(self, source: Source, manager: Manager) -> None:
        self._source = source
        self._manager = manager

    def revision(self) -> int | None:
        self._manager.alive()
        return self._source.revision()

    def changed(self, since: int) -> set[str]:
        self._manager.alive()
        return self._source.changed(since)

    def index(self) -> set[str]:
        self._manager.alive()
        return self._source.index()

    def values(self, keys: Sequence[str]) -> dict[str, bytes | KnitError]:
        self._manager.alive()
        return self._source.values(keys)


def _in_system(address: str) -> str | None:
    """How the system wants it; None for one of a kind that is none of its own (`vsock:…`)."""
    if address.startswith("@"):
        return "\0" + address[1:]
    return address if address.startswith("/") else None


def watchdog_of(microseconds: str | None, process: str | None) -> timedelta | None:
    """The time that the variables `WATCHDOG_USEC` and `WATCHDOG_PID` give this process."""
    if process not in {None, str(os.getpid())} or microseconds is None:
        return None
    return timedelta(microseconds=int(microseconds)) if microseconds.isascii() and microseconds.isdigit() else None
