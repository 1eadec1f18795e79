"""A connected queue, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import dramatiq
import dramatiq.errors

from knit.errors import CredentialsRejected, Outage, Unreachable
from knit.queue.intake import Strict
from knit.queue.messages import QUEUES, Message


@dataclass(frozen=True, slots=True)
class Queue:
    """A connected queue. `guard` turns the client's own errors into knit's, `release` closes its connections.

    `where` names the server in messages, without credentials.
    """

    broker: dramatiq.Broker
    count: Callable[[str], int]
    where: str = "in this process"
    guard: Callable[[], AbstractContextManager[object]] = nullcontext
    release: Callable[[], None] = lambda: None

    def send(self, message: Message) -> None:
        """Put the message on its queue. Raises Outage."""
        with self._explained():
            self.broker.enqueue(message)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with self.guard():
                yield
        except (dramatiq.errors.BrokerConnectionError, Unreachable):
            message = f"the queue at {self.where} does not answer"
            raise Outage(message) from None
        except CredentialsRejected as error:
            message = f"the queue: {error}"
            raise CredentialsRejected(message) from None

    def waiting(self, name: str) -> int:
        """How many messages wait there and no worker has fetched yet. Raises Outage."""
        with self._explained():
            return self.count(name)

    def close(self) -> None:
        """Close the connections of this process."""
        with self.guard():
            self.broker.close()
        self.release()


def declared(queue: Queue) -> Queue:
    """With our queues on it, from which this process reads our messages and nothing else.

    No middleware is added: Dramatiq's own Retries would write the text of exceptions into messages.
    """
    dramatiq.set_encoder(Strict())
    for name in QUEUES:
        queue.broker.declare_queue(name)
    return queue
