"""A queue on Valkey or Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from threading import Event
from typing import Any, Protocol
from uuid import uuid4

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed, DecodeError

from knit.outages import Outages
from knit.queue.base import Queue, declared
from knit.queue.consumer import Watched
from knit.queue.intake import SIEVE, dropped
from knit.queue.messages import Message

HEARTBEAT = timedelta(seconds=20)
"""A worker silent for so long is taken for dead, and its messages go back on the queue."""

EVERY_COMMAND = 1_000_000

SHORTEST_PAUSE = 0.005
"""Seconds between two looks at a queue that has just had something; doubled with each vain one."""

LONGEST_PAUSE = 0.1
"""Seconds between two looks at a queue that has nothing."""

DELAYED = ".DQ"
"""How Dramatiq calls the queue of messages that are to be delivered later."""

DELAYED_PAUSE = 0.5
"""Seconds between two looks there: none of them is wanted to the tenth of a second."""


class Link(Protocol):
    """A client that repeats nothing, and how its server is called in messages. Threads share it."""

    @property
    def client(self) -> redis.Redis: ...
    @property
    def where(self) -> str: ...

    def talking(self) -> AbstractContextManager[object]:
        """The client's errors come out as knit's inside."""

    def hang_up(self) -> None:
        """Leave the connections that nobody uses."""

    def close(self) -> None:
        """Close all connections."""


class Prompt(Watched):
    """A consumer that looks for the next message as soon as one is done.

    Dramatiq's own sleeps while every place of its prefetch is taken, for up to the worker timeout, and a thread that
    becomes free in that time idles for the rest of it. So its pause is made as short as it gets, and the waiting is
    done here. `longest` is the longest pause, in seconds. RabbitMQ pushes, and needs none of this.
    """

    def __init__(self, consumer: dramatiq.Consumer, name: str, link: Link, outages: Outages, *, longest: float) -> None:
        super().__init__(consumer, name, link.where, outages)
        self._places: Any = consumer
        self._link = link
        self._longest = longest
        self._pause = SHORTEST_PAUSE
        self._done = Event()

    def fetched(self) -> dramatiq.MessageProxy | None:
        """See Watched. Without a free place there is nothing to look for before one is."""
        if self._is_full():
            self._done.wait(self._longest)
            self._done.clear()
            return None
        with _connected(self._link):
            found = super().fetched()
        if found is not None:
            self._pause = SHORTEST_PAUSE
        else:
            time.sleep(self._pause)
            self._pause = min(self._pause * 2, self._longest)
        return found

    def _is_full(self) -> bool:
        """Whether everything that was fetched is being worked on, and is as much as may be."""
        return not self._places.message_cache and self._places.outstanding_message_count >= self._places.prefetch

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """See dramatiq.Consumer."""
        with _connected(self._link):
            super().ack(message)
        self._done.set()

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """See dramatiq.Consumer."""
        with _connected(self._link):
            super().nack(message)
        self._done.set()

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """See dramatiq.Consumer."""
        with _connected(self._link):
            super().requeue(messages)


class Broker(RedisBroker):
    """Dramatiq's broker, with a sieve before its script and our consumer around its own."""

    def __init__(self, link: Link, outages: Outages) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            client=link.client,
            middleware=[],
            heartbeat_timeout=int(HEARTBEAT.total_seconds() * 1000),
            maintenance_chance=EVERY_COMMAND,
        )
        theirs: Any = self.scripts["dispatch"].script
        self.scripts["dispatch"] = link.client.register_script(SIEVE + theirs)
        self._link = link
        self._outages = outages
        self._consumed: set[str] = set()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """See dramatiq.Broker."""
        if queue_name in self._consumed:
            # After a lost connection nobody knows what was fetched: under another id it is a dead worker's, and back on
            # the queue soon. What is still being worked on here comes twice, and finds a lease.
            self.broker_id = str(uuid4())
        self._consumed.add(queue_name)
        longest = DELAYED_PAUSE if queue_name.endswith(DELAYED) else LONGEST_PAUSE
        consumer = super().consume(queue_name, prefetch, timeout=1)
        return Prompt(consumer, queue_name, self._link, self._outages, longest=longest)

    def do_fetch(self, queue_name: str, count: int) -> list[Any]:
        """Messages; none when the sieve has just kept some back."""
        found: list[Any] = self._dispatch("fetch")(queue_name, count)  # type: ignore[no-untyped-call]
        if found and found[0] is not None and found[0].startswith(b"!"):
            for size in found:
                dropped(queue_name, int(size[1:]), "it cannot be read")
            return []
        return [body for body in found if body is not None and self._is_sound(queue_name, body)]

    def _is_sound(self, queue_name: str, body: bytes) -> bool:
        try:
            Message.decode(body)
        except DecodeError:
            # The sieve has seen to it that this id is the one it is kept under.
            self.do_ack(queue_name, json.loads(body)["options"]["redis_message_id"])
            dropped(queue_name, len(body), "it cannot be read")
            return False
        return True


def over(link: Link, outages: Outages) -> Queue:
    """A queue over this link, which must repeat nothing: Dramatiq's script is not safe to repeat.

    A killed worker's messages are back after HEARTBEAT, because every command looks for dead workers.
    """
    broker = Broker(link, outages)

    def count(name: str) -> int:
        return int(link.client.llen(f"{broker.namespace}:{name}"))

    return declared(Queue(broker, count, link.where, link.talking, link.close))


@contextmanager
def _connected(link: Link) -> Iterator[None]:
    """Whatever Redis's client raises counts as a lost connection: Dramatiq gives up on what it does not know."""
    try:
        yield
    except redis.RedisError as error:
        link.hang_up()
        raise ConnectionClosed(type(error).__name__) from None  # type: ignore[no-untyped-call]
