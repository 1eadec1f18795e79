"""Bundles that wait are spoken of at once, but not once each."""

from __future__ import annotations

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
from workers.handing_over import HandingOver
from workers.later import Later

EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Sent(Queue):
    """Notes which certificate each message names, or is away."""

    broker: dramatiq.Broker = field(default_factory=StubBroker)
    count: Callable[[str], int] = len
    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    away: threading.Event = field(default_factory=threading.Event)
    threads: set[int] = field(default_factory=set)

    def send(self, message: messages.Message) -> None:
        if self.away.is_set():
            raise Unreachable("the queue does not answer")
        self.ids.append(message.args[0])
        self.times.append(time.monotonic())
        self.threads.add(threading.get_ident())


@pytest.fixture
def queue() -> Sent:
    return Sent()


def soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20 * EVERY
    while time.monotonic() < end and not holds():
        time.sleep(0.01)
    return holds()


def test_the_first_is_spoken_of_at_once_and_all_that_follow_together(queue: Sent) -> None:
    handing_over = HandingOver(Later(queue, Outages()), EVERY)
    for number in range(1, 30):
        handing_over(CertId(number))
    assert queue.ids == [1]
    assert soon(lambda: len(queue.ids) == 2)
    time.sleep(5 * EVERY)
    assert queue.ids == [1, 2]
    handing_over(CertId(30))
    assert queue.ids == [1, 2, 30]


def test_later_messages_all_come_from_one_thread_because_a_queue_may_keep_a_connection_for_each(queue: Sent) -> None:
    handing_over = HandingOver(Later(queue, Outages()), EVERY)
    began = time.monotonic()
    for number in range(100):
        handed_over_at = time.monotonic()
        handing_over(CertId(number))
        time.sleep(0.005)
    assert soon(lambda: queue.times[-1] >= handed_over_at)
    assert len(queue.ids) <= (queue.times[-1] - began) / EVERY + 2
    assert len(queue.threads) <= 2


def test_a_bundle_that_comes_after_a_late_message_has_one_of_its_own(
    queue: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Later(queue, Outages())
    monkeypatch.setattr(later, "_ensure_thread", lambda: None)
    handing_over = HandingOver(later, 0.05)
    for number in (1, 2):
        handing_over(CertId(number))
    # The thread that sends what is owed comes late.
    time.sleep(0.06)
    handing_over(CertId(3))
    monkeypatch.undo()
    later.send(messages.reconcile(), delay=timedelta(hours=1))
    assert soon(lambda: len(queue.ids) == 2)
    handed_over_at = time.monotonic()
    handing_over(CertId(4))
    assert soon(lambda: queue.times[-1] >= handed_over_at)


def test_what_is_owed_when_the_worker_stops_is_said_then_and_each_one_afterwards(queue: Sent) -> None:
    later = Later(queue, Outages())
    handing_over = HandingOver(later, 60)
    handing_over(CertId(1))
    handing_over(CertId(2))
    stopping: Any = None
    for middleware in (handing_over, later):
        middleware.before_worker_shutdown(stopping, stopping)
    assert queue.ids == [1, 2]
    for number in (3, 4):
        handing_over(CertId(number))
    assert queue.ids == [1, 2, 3, 4]


def test_without_a_pause_each_one_is_spoken_of(queue: Sent) -> None:
    handing_over = HandingOver(Later(queue, Outages()), 0)
    for number in (1, 2, 3):
        handing_over(CertId(number))
    assert queue.ids == [1, 2, 3]


def test_bundles_that_a_queue_which_is_away_did_not_hear_of_are_spoken_of_when_it_is_back(queue: Sent) -> None:
    handing_over = HandingOver(Later(queue, Outages()), EVERY)
    queue.away.set()
    for number in (1, 2):
        handing_over(CertId(number))
    time.sleep(3 * EVERY)
    queue.away.clear()
    assert soon(lambda: queue.ids == [1])
