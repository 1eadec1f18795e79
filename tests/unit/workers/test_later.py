"""Messages for later, and for a queue that is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from knit.core.model.certificate import CertId
from knit.errors import Unreachable
from knit.outages import Outages
from knit.queue import messages
from knit.queue.base import Queue
from workers.later import Later

NOBODY: Any = None


@dataclass(frozen=True, slots=True)
class Sent(Queue):
    """Notes what it was sent, or is away."""

    broker: dramatiq.Broker = field(default_factory=StubBroker)
    count: Callable[[str], int] = len
    sent: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    away: threading.Event = field(default_factory=threading.Event)
    asked: list[float] = field(default_factory=list)

    def send(self, message: messages.Message) -> None:
        self.asked.append(time.monotonic())
        if self.away.is_set():
            raise Unreachable("the queue does not answer")
        self.sent.append((message.actor_name, tuple(message.args)))


@pytest.fixture
def queue() -> Sent:
    return Sent()


@pytest.fixture
def later(queue: Sent) -> Later:
    return Later(queue, Outages())


def soon(holds: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not holds():
        time.sleep(0.01)
    return holds()


def test_a_message_for_later_comes_at_its_time_and_not_before(queue: Sent, later: Later) -> None:
    began = time.monotonic()
    later.send(messages.renew(CertId(7)), delay=timedelta(seconds=0.4))
    later.send(messages.renew(CertId(8)))
    assert queue.sent == [("renew", (8,))]
    assert soon(lambda: len(queue.sent) == 2)
    assert time.monotonic() - began >= 0.4


def test_of_several_messages_about_one_thing_the_earliest_is_sent(queue: Sent, later: Later) -> None:
    for tries, seconds in enumerate((60, 0.3, 60)):
        later.send(messages.reconcile(tries), delay=timedelta(seconds=seconds))
        later.send(messages.renew(CertId(7), tries=tries), delay=timedelta(seconds=seconds))
        later.send(messages.publish(CertId(tries + 1), tries=tries), delay=timedelta(seconds=seconds))
    assert soon(lambda: len(queue.sent) == 3)
    time.sleep(0.3)
    assert sorted(queue.sent) == [("publish", (2, 1)), ("reconcile", (1,)), ("renew", (7, 1))]


def test_nothing_is_lost_to_a_queue_that_is_away_and_it_is_not_asked_for_each_message(
    queue: Sent, later: Later, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    queue.away.set()
    for number in range(1, 1001):
        later.send(messages.renew(CertId(number)))
    time.sleep(1.5)
    assert len(queue.asked) <= 4
    queue.away.clear()
    assert soon(lambda: len(queue.sent) == 1000)
    assert {args for _, args in queue.sent} == {(number,) for number in range(1, 1001)}
    assert [record.message for record in caplog.records] == ["server away", "server back"]


def test_a_worker_that_stops_sends_at_once_what_it_owes(queue: Sent, later: Later) -> None:
    later.send(messages.renew(CertId(7)), delay=timedelta(hours=1))
    later.before_worker_shutdown(NOBODY, NOBODY)
    later.send(messages.renew(CertId(8)), delay=timedelta(hours=1))
    assert queue.sent == [("renew", (7,)), ("renew", (8,))]


def test_a_worker_that_stops_while_the_queue_is_away_asks_it_once_and_says_so(
    queue: Sent, later: Later, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 101):
        later.send(messages.renew(CertId(number)), delay=timedelta(hours=1))
    queue.away.set()
    later.before_worker_shutdown(NOBODY, NOBODY)
    assert len(queue.asked) == 1
    assert "messages not sent: a pass finds what they were about" in caplog.text


def test_settling_waits_until_nothing_is_owed(queue: Sent, later: Later) -> None:
    later.send(messages.reconcile(), delay=timedelta(seconds=0.3))
    assert later.settle()
    assert queue.sent == [("reconcile", ())]
    assert not later.settle()


@dataclass(frozen=True, slots=True)
class Slow(Sent):
    """Takes its time over a message, as a queue far away does."""

    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def send(self, message: messages.Message) -> None:
        self.begun.set()
        assert self.go_on.wait(10)
        Sent.send(self, message)


@pytest.mark.parametrize("taken", [True, False], ids=["the queue takes it", "the queue is away"])
def test_what_happens_while_a_message_is_on_its_way_is_owed_one_of_its_own(taken: bool) -> None:
    queue = Slow()
    later = Later(queue, Outages())
    later.send(messages.publish(CertId(1)), delay=timedelta(seconds=0.05))
    assert queue.begun.wait(10)
    later.send(messages.publish(CertId(2)), delay=timedelta(seconds=0.05))
    if not taken:
        queue.away.set()
    queue.go_on.set()
    if taken:
        assert soon(lambda: [args[0] for _, args in queue.sent] == [1, 2])
        return
    assert soon(lambda: len(queue.asked) >= 1)
    queue.away.clear()
    assert soon(lambda: bool(queue.sent))
    assert not later.settle()


def test_settling_waits_for_what_is_on_its_way() -> None:
    queue = Slow()
    later = Later(queue, Outages())
    later.send(messages.reconcile(), delay=timedelta(seconds=0.05))
    assert queue.begun.wait(10)
    threading.Timer(0.3, queue.go_on.set).start()
    assert later.settle()
    assert queue.sent == [("reconcile", ())]
