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
        self._lock = threading.Lock()
        self._next_at = 0.0
        self._owed: CertId | None = None
        self._timer: threading.Timer | None = None

    def __call__(self, cert_id: CertId) -> None:
        """This certificate's bundle waits. Raises Unreachable."""
        with self._lock:
            wait = self._next_at - time.monotonic()
            if wait > 0:
                self._owe(cert_id, wait)
                return
            self._next_at = time.monotonic() + self._every
        self._queue.send(messages.publish(cert_id))

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """From now on each bundle has a message of its own, at once."""
        self._every = 0.0
        self._catch_up()

    def _owe(self, cert_id: CertId, wait: float) -> None:
        if self._owed is None:
            self._timer = threading.Timer(wait, self._catch_up)
            self._timer.daemon = True
            self._timer.start()
        self._owed = cert_id

    def _catch_up(self) -> None:
        with self._lock:
            owed, self._owed = self._owed, None
            self._next_at = time.monotonic() + self._every
            if self._timer is not None:
                self._timer.cancel()
        if owed is None:
            return
        try:
            self._queue.send(messages.publish(owed))
        except KnitError as error:
            log.warning("publication left to the next pass", extra={"error": str(error)})
