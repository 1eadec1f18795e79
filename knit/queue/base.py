"""A connected queue, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import dramatiq
import dramatiq.errors

from knit.errors import CredentialsRejected, Outage, Unreachable

Message = dramatiq.Message[Any]


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
