"""The queue of a process."""

from __future__ import annotations

from knit.outages import Outages
from knit.queue import memory
from knit.queue.base import Queue


def queue_in_memory() -> Queue:
    """A queue inside this process, which no other can reach."""
    return memory.connect()


def open_queue(url: str, outages: Outages | None = None) -> Queue:
    """The queue at this URL; nothing is sent before the first message. Raises Misconfigured for a bad URL.

    `outages` hears when a consumer loses its server, and when it has it back.
    """
    heard = outages or Outages()
    return _on_rabbitmq(url, heard) if url.lower().startswith("amqp") else _on_valkey(url, heard)


def _on_rabbitmq(url: str, outages: Outages) -> Queue:
    from knit.queue import rabbitmq

    return rabbitmq.connect(url, outages)


def _on_valkey(url: str, outages: Outages) -> Queue:
    from knit.queue import redis
    from knit.valkey.connect import connect

    return redis.over(connect(url, name="knit-queue", retries=0, setting="KNIT_QUEUE_URL"), outages)
