"""How a worker that has obtained bundles says that they wait to be published."""

from __future__ import annotations

import logging
import threading
import time

import dramatiq

from knit import messages
from knit.core.model import CertId
from knit.errors import KnitError
from knit.messages import Queue

log = logging.getLogger(__name__)

EVERY = 0.25
"""Seconds between two such messages: what comes in between is published together, at a fraction of the cost."""


class HandingOver(dramatiq.Middleware):
    """Sends one message for the first bundle, and one for all that follow it within `every` seconds.

    One that dies with its process is made up for by the next bundle anywhere, by the start of any worker, or by the
    next pass: each of them publishes all that waits.
    """

    def __init__(self, queue: Queue, every: float = EVERY) -> None:
        self._queue = queue
        self._every = every
        self._change = threading.Condition()
        self._next_at = 0.0
        self._owed: CertId | None = None
        self._thread: threading.Thread | None = None

    def __call__(self, cert_id: CertId) -> None:
        """This certificate's bundle waits. Raises Unreachable."""
        with self._change:
            if time.monotonic() < self._next_at:
                self._owed = cert_id
                self._wake_thread()
                return
            self._next_at = time.monotonic() + self._every
        self._queue.send(messages.publish(cert_id))

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """From now on each bundle has a message of its own, at once."""
        with self._change:
            self._every = self._next_at = 0.0
            owed, self._owed = self._owed, None
        self._say(owed)

    def _wake_thread(self) -> None:
        # One for good: a queue may keep a connection for each thread that ever sent something.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._catch_up_forever, name="knit-handing-over", daemon=True)
            self._thread.start()
        self._change.notify()

    def _catch_up_forever(self) -> None:
        while True:
            self._say(self._due())

    def _due(self) -> CertId | None:
        with self._change:
            while self._owed is None:
                self._change.wait()
            while (wait := self._next_at - time.monotonic()) > 0:
                self._change.wait(wait)
            self._next_at = time.monotonic() + self._every
            owed, self._owed = self._owed, None
            return owed

    def _say(self, owed: CertId | None) -> None:
        if owed is None:
            return
        try:
            self._queue.send(messages.publish(owed))
        except KnitError as error:
            log.warning("publication left to the next pass", extra={"error": str(error)})
