"""What knit needs of a queue, held against each kind it supports."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
import redis

from knit.app.queue import open_queue, queue_in_memory
from knit.core.model.certificate import CertId
from knit.errors import Misconfigured, Unreachable
from knit.queue import messages
from knit.queue.base import Queue
from knit.queue.redis import Prompt
from rig.ports import free_port

WAITS = CertId(999_999)
"""Its renewal takes as long as the test wants."""


@pytest.fixture(params=["memory", "valkey", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str | None:
    names = {"valkey": "queue_url", "rabbitmq": "amqp_url"}
    return request.getfixturevalue(names[request.param]) if request.param in names else None


class Working:
    """A queue with actors that note what they were given, and a worker for each of the two queues."""

    def __init__(self, url: str | None, timeout: int = 50) -> None:
        self.queue: Queue = queue_in_memory() if url is None else open_queue(url)
        self.heard: list[tuple[str, Any]] = []
        self.busy = threading.Event()
        self.free = threading.Event()
        self._declare()
        self.workers = [
            dramatiq.Worker(self.queue.broker, queues={name}, worker_threads=2, worker_timeout=timeout)
            for name in (messages.CONTROL, messages.RENEW)
        ]
        for worker in self.workers:
            worker.start()

    def _declare(self) -> None:
        def renew(cert_id: int) -> None:
            self.busy.set()
            if cert_id == WAITS:
                self.free.wait(20)
            self.heard.append(("renew", cert_id))

        def publish(cert_id: int | None, tries: int) -> None:
            self.heard.append(("publish", (cert_id, tries)))

        def reconcile() -> None:
            self.heard.append(("reconcile", None))
            message = "-----BEGIN PRIVATE KEY-----"
            raise ValueError(message)

        for function, name in ((renew, messages.RENEW), (publish, messages.CONTROL), (reconcile, messages.CONTROL)):
            dramatiq.actor(broker=self.queue.broker, queue_name=name)(function)

    def wait(self, count: int, seconds: float = 10) -> list[tuple[str, Any]]:
        deadline = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return list(self.heard)

    def close(self) -> None:
        self.free.set()
        for worker in self.workers:
            worker.stop(timeout=5000)
        self.queue.close()


@pytest.fixture
def working(url: str | None) -> Iterator[Working]:
    found = Working(url)
    yield found
    found.close()


def test_a_message_reaches_its_actor(working: Working) -> None:
    working.queue.send(messages.renew(CertId(7)))
    working.queue.send(messages.publish(CertId(7), tries=2))
    assert sorted(working.wait(2)) == [("publish", (7, 2)), ("renew", 7)]


def test_a_thread_that_becomes_free_has_the_next_message_at_once(url: str | None) -> None:
    """However long the consumer has been idle because every place of its prefetch was taken."""
    working = Working(url, timeout=1000)
    for _ in range(8):
        working.queue.send(messages.renew(WAITS))
    assert working.busy.wait(10)
    time.sleep(3)
    began = time.monotonic()
    working.free.set()
    assert len(working.wait(8)) == 8
    took = time.monotonic() - began
    working.close()
    assert took < 0.3


def test_a_consumer_that_pauses_goes_on_as_soon_as_a_message_is_done(queue_url: str) -> None:
    queue = open_queue(queue_url)
    queue.send(messages.renew(CertId(7)))
    consumer = queue.broker.consume(messages.RENEW, prefetch=1)
    assert isinstance(consumer, Prompt)
    message = next(consumer)
    assert message is not None
    consumer._longest = 60
    pausing = threading.Thread(target=next, args=(consumer,), daemon=True)
    pausing.start()
    pausing.join(0.2)
    assert pausing.is_alive()
    consumer.ack(message)
    pausing.join(5)
    assert not pausing.is_alive()
    queue.close()


def test_renewals_that_wait_do_not_delay_a_publication(working: Working) -> None:
    for _ in range(6):
        working.queue.send(messages.renew(WAITS))
    assert working.busy.wait(10)
    working.queue.send(messages.publish(CertId(1)))
    assert working.wait(1) == [("publish", (1, 0))]


def test_an_actor_that_breaks_is_not_run_again_by_the_queue(working: Working) -> None:
    working.queue.send(messages.reconcile())
    working.wait(1)
    time.sleep(0.5)
    assert working.heard == [("reconcile", None)]


def test_the_text_of_an_exception_stays_out_of_the_queue(queue_url: str) -> None:
    working = Working(queue_url)
    working.queue.send(messages.reconcile())
    working.wait(1)
    working.close()
    with redis.Redis.from_url(queue_url) as client:
        stored = [client.dump(key) or b"" for key in client.scan_iter()]
    assert stored
    assert b"PRIVATE KEY" not in b"".join(stored)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_queue_that_is_away_is_named_and_shows_no_password(scheme: str) -> None:
    with pytest.raises(Unreachable) as caught:
        open_queue(f"{scheme}://user:hunter2@127.0.0.1:{free_port()}/0").send(messages.reconcile())
    assert "hunter2" not in str(caught.value)


def test_a_queue_whose_host_cannot_be_looked_up_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable, match=r"the queue at queue\.invalid:5672 does not answer"):
        open_queue("amqp://user:hunter2@queue.invalid/").send(messages.reconcile())


def test_a_url_that_rabbitmq_s_client_does_not_take_is_refused_without_its_password() -> None:
    with pytest.raises(Misconfigured) as caught:
        open_queue("amqp://user:hunter2@127.0.0.1/?x=1")
    assert "hunter2" not in str(caught.value)


def test_a_queue_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Misconfigured):
        open_queue("kafka://127.0.0.1")
