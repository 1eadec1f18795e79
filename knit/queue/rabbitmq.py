"""A queue on RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import dramatiq
from dramatiq.errors import BrokerConnectionError, ConnectionClosed

from knit.core import address
from knit.errors import Misconfigured, Unreachable
from knit.outages import Outages
from knit.queue.base import Queue, declared
from knit.queue.consumer import Watched, lost
from knit.queue.intake import dropped


def connect(url: str, outages: Outages) -> Queue:
    """Raises Misconfigured, also when the client is not installed."""
    try:
        import pika
        from dramatiq.brokers import rabbitmq as client
    except ImportError:
        message = "KNIT_QUEUE_URL: amqp:// needs the extra knit-certs[rabbitmq]"
        raise Misconfigured(message) from None

    class Consumer(client._RabbitmqConsumer):  # noqa: SLF001 -- the library has no other way to put one's own in its place
        """Dramatiq's, but what is refused is gone, instead of lying among dead letters for a week."""

        def _nack(self, tag: int) -> None:
            dropped(self.queue_name, None, "it cannot be read")
            self.connection.add_callback_threadsafe(partial(self.channel.basic_ack, tag))

    class Broker(client.RabbitmqBroker):
        """Dramatiq's broker with our consumer around its own."""

        @property
        def consumer_class(self) -> Any:
            """See RabbitmqBroker."""
            return Consumer

        def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
            """See dramatiq.Broker."""
            try:
                consumer = super().consume(queue_name, prefetch, timeout)
            except (BrokerConnectionError, OSError):
                lost(queue_name, where, outages)
                raise ConnectionClosed("no connection") from None  # type: ignore[no-untyped-call]
            return Watched(consumer, queue_name, where, outages)

    try:
        plain = address.parse(url).escaped
        broker = Broker(url=plain, middleware=[], confirm_delivery=True)
        parameters = pika.URLParameters(plain)
    except (ValueError, TypeError):
        # The text may quote the password.
        message = "KNIT_QUEUE_URL: not a valid URL of RabbitMQ: allowed is amqp://user:password@host[:port][/vhost]"
        raise Misconfigured(message) from None
    where = f"{parameters.host}:{parameters.port}"
    return declared(Queue(broker, lambda name: broker.get_queue_message_counts(name)[0], where, _looking_up))


@contextmanager
def _looking_up() -> Iterator[None]:
    """RabbitMQ's client lets a host that cannot be looked up through as the system's own error."""
    try:
        yield
    except OSError as error:
        message = f"the queue does not answer ({error.strerror or type(error).__name__})"
        raise Unreachable(message) from None
