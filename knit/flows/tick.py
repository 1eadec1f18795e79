"""One effective tick per interval, however many schedulers run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from threading import RLock

from knit.errors import LeaseLost, Transient
from knit.ports import Lease, Leases

log = logging.getLogger(__name__)


class Ticker:
    """Sends a reconcile message per interval while it holds the scheduler's lease.

    `look` is called every few seconds, `tick` every interval. Taking the lease over sends one message at once:
    the former holder may have died just before its tick. A message that could not be sent is owed until it could.
    """

    def __init__(self, leases: Leases, send: Callable[[], None]) -> None:
        self._leases = leases
        self._send = send
        self._held = ExitStack()
        self._lease: Lease | None = None
        self._owed = False
        self._one_at_a_time = RLock()

    def look(self) -> None:
        """Take the lease if it is free, and send what is owed. Raises Transient when Postgres cannot be asked."""
        with self._one_at_a_time:
            if self._lease is not None:
                self._confirm(self._lease)
            if self._lease is None:
                self._owed = self._take()
            if self._owed:
                self._pay()

    def tick(self) -> None:
        """An interval has passed."""
        with self._one_at_a_time:
            self._owed = True
            self.look()

    def close(self) -> None:
        """Give the lease back, so that another scheduler takes over at once."""
        with self._one_at_a_time:
            self._held.close()
            self._lease = None

    def _take(self) -> bool:
        with ExitStack() as stack:
            self._lease = stack.enter_context(self._leases.hold("scheduler"))
            if self._lease is None:
                return False
            self._held = stack.pop_all()
            return True

    def _confirm(self, lease: Lease) -> None:
        try:
            lease.check()
        except LeaseLost:
            log.warning("another scheduler has taken over")
            self._held.close()
            self._lease = None
            self._owed = False

    def _pay(self) -> None:
        try:
            self._send()
        except Transient as error:
            log.error("pass not enqueued", extra={"error": str(error)})  # noqa: TRY400 -- the text is the whole story
            return
        self._owed = False
        log.info("pass enqueued")
