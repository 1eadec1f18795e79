"""How a worker that has obtained bundles says that they wait to be published."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import dramatiq

from knit.core.model.certificate import CertId
from knit.queue import messages
from workers.later import Later

EVERY = 0.25
"""Seconds between two such messages: what comes in between is published together, at a fraction of the cost."""


class HandingOver(dramatiq.Middleware):
    """Sends one message for the first bundle, and one for all that follow it within `every` seconds.

    One that dies with its process is made up for by the next bundle anywhere, by the start of any worker, or by the
    next pass: each of them publishes all that waits.
    """

    def __init__(self, later: Later, every: float = EVERY) -> None:
        self._later = later
        self._every = every
        self._lock = threading.Lock()
        self._planned = 0.0

    def __call__(self, cert_id: CertId) -> None:
        """This certificate's bundle waits."""
        message = messages.publish(cert_id)
        with self._lock:
            now = time.monotonic()
            if now < self._planned:
                return
            wait = self._planned + self._every - now
            if wait > 0:
                self._planned = self._later.send(message, delay=timedelta(seconds=wait))
                return
            self._planned = now
        self._later.send(message)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """From now on each bundle has a message of its own, at once. Comes before Later's own."""
        with self._lock:
            self._every = self._planned = 0.0
