"""The queue's vocabulary: queue and actor names, one builder per message, and how to connect.

A message is a hint that carries ids and nothing else; the truth is in Postgres. Losing one costs an interval at
most, and delivering it three times changes nothing.
"""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.stub import StubBroker

from knit.core.model.certificate import CertId
from knit.outages import Outages
from knit.queue.base import Message, Queue
from knit.queue.intake import Strict

__all__ = ["CONTROL", "RENEW", "Message", "Queue", "connect", "in_memory", "publish", "reconcile", "renew"]

CONTROL = "control"
"""Short work that must never wait behind slow CAs: reconcile and publish."""

RENEW = "renew"
"""Renewals: they mostly wait, for the CA and for the DNS."""


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


def in_memory() -> Queue:
    """A queue inside this process."""
    broker = StubBroker(middleware=[])
    return Queue(broker, lambda name: broker.queues[name].qsize())


def connect(url: str, outages: Outages | None = None) -> Queue:
    """The queue at this URL; nothing is sent before the first message. Raises Misconfigured for a bad URL.

    `outages` hears when a consumer loses its server, and when it has it back. No middleware is added here: Dramatiq's
    own Retries would write the text of exceptions into messages.
    """
    heard = outages or Outages()
    dramatiq.set_encoder(Strict())
    if url.lower().startswith("amqp"):
        from knit.queue import rabbitmq

        queue = rabbitmq.connect(url, heard)
    else:
        from knit.queue import redis

        queue = redis.connect(url, heard)
    for name in (CONTROL, RENEW):
        queue.broker.declare_queue(name)
    return queue
