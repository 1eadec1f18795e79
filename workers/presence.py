"""How a worker process says that it is there, so that whoever waits for one knows whether to go on waiting."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from contextlib import suppress

import dramatiq

from knit.errors import KnitError
from knit.outages import Outages
from knit.ports.centre import Presence as Centre

log = logging.getLogger(__name__)

EVERY = 5.0
PARTING = 1.0


class Presence(dramatiq.Middleware):
    """Writes every few seconds which queues this process works on, and what is in its way.

    `alone`: they are in its own memory, where nobody else's messages get to.
    """

    def __init__(self, centre: Centre, outages: Outages, *, alone: bool, every: float = EVERY) -> None:
        self._centre = centre
        self._outages = outages
        self._alone = alone
        self._every = every
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._queues: set[str] = set()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Its threads take messages from now on."""
        self._queues |= worker.consumer_whitelist or broker.get_declared_queues()
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell, name="knit-presence", daemon=True)
            self._thread.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """It takes no more."""
        self._stopping.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Without waiting for a PostgreSQL that does not answer."""
        if self._thread is not None:
            self._thread.join(PARTING)

    def _tell(self) -> None:
        told = self._told()
        while not self._stopping.wait(self._every):
            told = self._told()
        if told:
            with suppress(KnitError):
                self._centre.part(self._name)

    def _told(self) -> bool:
        try:
            queues = sorted(self._queues)
            self._centre.present(self._name, queues, alone=self._alone, trouble=self._outages.now())
        except KnitError as error:
            # Whoever works here meets the same outage, and says so.
            log.debug("presence not told", extra={"error": str(error)})
            return False
        return True
