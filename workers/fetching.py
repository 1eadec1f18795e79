"""How soon a worker looks for its next message."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import dramatiq
from dramatiq.worker import ConsumerThread


@runtime_checkable
class _Paused(Protocol):
    """A consumer that counts how often in a row it found nothing to do."""

    misses: int


class Promptly(dramatiq.Middleware):
    """Looks soon after a message is done.

    While every place of the prefetch is taken, Dramatiq's consumer of a Redis queue doubles its pause up to the worker
    timeout, and a thread that becomes free would idle for most of that. RabbitMQ pushes, and knows no pause.
    """

    def __init__(self) -> None:
        self._threads: list[ConsumerThread] = []

    def after_consumer_thread_boot(self, broker: dramatiq.Broker, thread: ConsumerThread) -> None:
        """One for each queue of this process."""
        self._threads.append(thread)

    def after_ack(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """The next pause is the shortest again."""
        for thread in self._threads:
            consumer: object = thread.consumer
            if isinstance(consumer, _Paused):
                consumer.misses = 0
