"""The queue's vocabulary: queue and actor names, one builder per message, and how to connect.

A message is a hint that carries ids and nothing else; the truth is in Postgres. Losing one costs an interval at
most, and delivering it three times changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import Any
from uuid import uuid4

import dramatiq
import dramatiq.errors
from dramatiq.brokers.stub import StubBroker

from knit.core import address
from knit.core.model import CertId
from knit.errors import CredentialsRejected, Misconfigured, Unreachable

CONTROL = "control"
"""Short work that must never wait behind slow CAs: reconcile and publish."""

RENEW = "renew"
"""Renewals: they mostly wait, for the CA and for the DNS."""

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

Message = dramatiq.Message[Any]


def reconcile(tries: int = 0) -> Message:
    """Look for what is due and fan out. `tries`: how often that met an outage."""
    return _message(CONTROL, "reconcile", *_counted(tries))


def renew(cert_id: CertId, *, tries: int = 0) -> Message:
    """Look at this certificate, and renew it if it is due."""
    return _message(RENEW, "renew", int(cert_id), *_counted(tries))


def publish(cert_id: CertId | None = None, *, tries: int = 0) -> Message:
    """Publish what waits, this certificate's bundle among it; for None also refresh and prune."""
    return _message(CONTROL, "publish", None if cert_id is None else int(cert_id), tries)


def _counted(tries: int) -> tuple[int, ...]:
    """Left out of a first message: workers of an older knit do not know it."""
    return (tries,) if tries else ()


def _message(queue: str, actor: str, *args: object) -> Message:
    return dramatiq.Message(queue_name=queue, actor_name=actor, args=args, kwargs={}, options={})


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
        """Put the message on its queue. Raises Unreachable."""
        with self._explained():
            self.broker.enqueue(message)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with self.guard():
                yield
        except dramatiq.errors.BrokerConnectionError:
            message_text = f"the queue at {self.where} does not answer"
            raise Unreachable(message_text) from None
        except (Unreachable, CredentialsRejected) as error:
            message_text = f"the queue: {error}"
            raise type(error)(message_text) from None

    def waiting(self, name: str) -> int:
        """How many messages wait there and no worker has fetched yet. Raises Unreachable."""
        with self._explained():
            return self.count(name)

    def close(self) -> None:
        """Close the connections of this process."""
        with self.guard():
            self.broker.close()
        self.release()


def in_memory() -> Queue:
    """A queue inside this process."""
    broker = StubBroker(middleware=[])
    return Queue(broker, lambda name: broker.queues[name].qsize())


def connect(url: str) -> Queue:
    """The queue at this URL; nothing is sent before the first message. Raises Misconfigured for a bad URL.

    The client is explicit and repeats nothing: Dramatiq's script is not safe to repeat. A killed worker's
    messages are back after HEARTBEAT, because every command looks for dead workers. No middleware is added here:
    Dramatiq's own Retries would write the text of exceptions into messages.
    """
    queue = _rabbitmq(url) if url.lower().startswith("amqp") else _redis(url)
    for name in (CONTROL, RENEW):
        queue.broker.declare_queue(name)
    return queue


class Prompt(dramatiq.Consumer):
    """A consumer of a Redis queue that looks for the next message as soon as one is done.

    Dramatiq's own sleeps while every place of its prefetch is taken, for up to the worker timeout, and a thread that
    becomes free in that time idles for the rest of it. So its pause is made as short as it gets, and the waiting is
    done here. `longest` is the longest pause, in seconds. RabbitMQ pushes, and needs none of this.
    """

    def __init__(self, consumer: dramatiq.Consumer, longest: float) -> None:
        self._consumer = consumer
        self._longest = longest
        self._pause = SHORTEST_PAUSE
        self._done = Event()

    def __next__(self) -> dramatiq.MessageProxy | None:
        with _connected():
            found = next(self._consumer)
        if found is not None:
            self._pause = SHORTEST_PAUSE
        elif self._done.wait(self._pause):
            self._done.clear()
            self._pause = SHORTEST_PAUSE
        else:
            self._pause = min(self._pause * 2, self._longest)
        return found

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """See dramatiq.Consumer."""
        with _connected():
            self._consumer.ack(message)
        self._done.set()

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """See dramatiq.Consumer."""
        with _connected():
            self._consumer.nack(message)
        self._done.set()

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """See dramatiq.Consumer."""
        with _connected():
            self._consumer.requeue(messages)

    def close(self) -> None:
        """See dramatiq.Consumer."""
        self._consumer.close()


@contextmanager
def _connected() -> Iterator[None]:
    """Whatever Redis's client raises counts as a lost connection: Dramatiq gives up on what it does not know."""
    import redis

    try:
        yield
    except redis.RedisError as error:
        raise dramatiq.errors.ConnectionClosed(type(error).__name__) from None  # type: ignore[no-untyped-call]


def _redis(url: str) -> Queue:
    from dramatiq.brokers.redis import RedisBroker

    from knit.valkey.connect import connect as valkey

    class PromptBroker(RedisBroker):
        """Dramatiq's broker with our consumer around its own."""

        consumed: set[str]

        def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
            if queue_name in self.consumed:
                # After a lost connection nobody knows what was fetched: under another id it is a dead worker's, and
                # back on the queue soon. What is still being worked on here comes twice, and finds a lease.
                self.broker_id = str(uuid4())
            self.consumed.add(queue_name)
            longest = DELAYED_PAUSE if queue_name.endswith(DELAYED) else LONGEST_PAUSE
            return Prompt(super().consume(queue_name, prefetch, timeout=1), longest)

    link = valkey(url, name="knit-queue", retries=0)
    broker = PromptBroker(  # type: ignore[no-untyped-call]
        client=link.client,
        middleware=[],
        heartbeat_timeout=int(HEARTBEAT.total_seconds() * 1000),
        maintenance_chance=EVERY_COMMAND,
    )
    broker.consumed = set()
    return Queue(
        broker,
        lambda name: link.client.llen(f"{broker.namespace}:{name}"),
        link.where,
        link.talking,
        link.close,
    )


def _rabbitmq(url: str) -> Queue:
    try:
        import pika
        from dramatiq.brokers.rabbitmq import RabbitmqBroker
    except ImportError:
        message = "KNIT_QUEUE_URL: amqp:// needs the extra knit[rabbitmq]"
        raise Misconfigured(message) from None
    try:
        plain = address.parse(url).escaped
        broker = RabbitmqBroker(url=plain, middleware=[], confirm_delivery=True)
        parameters = pika.URLParameters(plain)
    except (ValueError, TypeError):
        # The text may quote the password.
        message = "KNIT_QUEUE_URL: not a valid URL of RabbitMQ: allowed is amqp://user:password@host[:port][/vhost]"
        raise Misconfigured(message) from None
    return Queue(
        broker,
        lambda name: broker.get_queue_message_counts(name)[0],
        f"{parameters.host}:{parameters.port}",
        _looking_up,
    )


@contextmanager
def _looking_up() -> Iterator[None]:
    """RabbitMQ's client lets a host that cannot be looked up through as the system's own error."""
    try:
        yield
    except OSError as error:
        message = f"the queue does not answer ({error.strerror or type(error).__name__})"
        raise Unreachable(message) from None
