"""What every consumer of ours does around Dramatiq's: tells of outages, and drops what is no message of ours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import dramatiq
from dramatiq.errors import BrokerConnectionError

from knit.errors import Unreachable
from knit.outages import Outages
from knit.queue.intake import dropped, refusal

RESTART = timedelta(seconds=3)
"""After which Dramatiq opens a consumer again that has lost its connection."""


class Watched(dramatiq.Consumer):
    """A consumer at `where` around another one."""

    def __init__(self, consumer: dramatiq.Consumer, name: str, where: str, outages: Outages) -> None:
        self._consumer = consumer
        self._name = name
        self._where = where
        self._outages = outages

    def __next__(self) -> dramatiq.MessageProxy | None:
        try:
            found = self.fetched()
        except BrokerConnectionError:
            lost(self._name, self._where, self._outages)
            raise
        self._outages.back(f"queue {self._name}")
        if found is not None and (why := refusal(found)):
            dropped(self._name, None, why)
            self.ack(found)
            return None
        return found

    def fetched(self) -> dramatiq.MessageProxy | None:
        """The next message, if there is one. Raises BrokerConnectionError."""
        return next(self._consumer)

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """See dramatiq.Consumer."""
        self._consumer.ack(message)

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """See dramatiq.Consumer."""
        self._consumer.nack(message)

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """See dramatiq.Consumer."""
        self._consumer.requeue(messages)

    def close(self) -> None:
        """See dramatiq.Consumer."""
        self._consumer.close()


def lost(name: str, where: str, outages: Outages) -> None:
    """No message comes any more."""
    error = Unreachable(f"the queue at {where} does not answer")
    outages.gone(f"queue {name}", error, kept="what Postgres knows is done as soon as it is back", again=RESTART)
