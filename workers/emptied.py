"""How a process that works on a queue of its own finds out that nothing is left to do."""

from __future__ import annotations

from typing import cast

import dramatiq
from dramatiq.brokers.stub import StubBroker

from knit.queue import messages
from knit.queue.base import Queue
from knit.queue.messages import Message
from workers.later import Later


class Emptied(dramatiq.Middleware):
    """Waits until nothing is on a queue in memory, under way, or owed to it."""

    def __init__(self, queue: Queue, later: Later) -> None:
        self._broker = cast("StubBroker", queue.broker)
        self._later = later
        self._sent = 0

    def after_enqueue(self, broker: dramatiq.Broker, message: Message, delay: int) -> None:
        """See dramatiq.Middleware."""
        # Threads may count two as one: whether there was any is what counts.
        self._sent += 1

    def wait(self) -> None:
        """Each message may bring others, on either queue, so that one empty queue after the other says nothing.

        Nothing is left once both have been empty, nothing was owed, and nothing was sent meanwhile: a message is sent
        before the one that brings it counts as done.
        """
        while True:
            sent = self._sent
            for name in (messages.CONTROL, messages.RENEW):
                self._broker.join(name, fail_fast=False)
            if not self._later.settle() and self._sent == sent:
                return
