"""Renewals that have failed before, and what another certificate holds, leave the threads to the others."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dramatiq
import pytest

from knit.app.queue import queue_in_memory
from knit.core import renewal
from knit.core.model.attempt import Outcome, Skipped
from knit.core.model.certificate import CertId
from knit.core.model.decision import CertState
from knit.errors import Busy
from knit.outages import Outages
from knit.queue import messages
from workers.actors import PARKED, Flows, declare
from workers.later import Later
from workers.retries import RetryShare

FAILING = [CertId(n) for n in range(1, 41)]
GOOD = [CertId(n) for n in range(101, 121)]


@pytest.mark.parametrize(("threads", "room"), [(1, 1), (3, 1), (4, 1), (8, 2), (25, 6), (400, 100)])
def test_retries_have_a_quarter_of_the_threads_and_at_least_one(threads: int, room: int) -> None:
    share = RetryShare(threads)
    entered = [share.room(cert_id) for cert_id in FAILING * 4]
    assert sum(one.__enter__() for one in entered) == room


def test_turns_come_in_the_order_of_asking_and_only_when_there_is_room() -> None:
    share = RetryShare(4)
    with share.room(CertId(1)) as first:
        assert first
        for number in (3, 2, 3):
            with share.room(CertId(number)) as admitted:
                assert not admitted
                share.line_up(CertId(number))
        assert share.freed() is None
    assert [share.freed(), share.freed(), share.freed()] == [3, 2, None]


def test_one_that_has_found_room_by_itself_has_no_turn_to_come() -> None:
    share = RetryShare(4)
    with share.room(CertId(1)), share.room(CertId(2)) as admitted:
        assert not admitted
        share.line_up(CertId(2))
    with share.room(CertId(2)) as admitted:
        assert admitted
    assert share.freed() is None


class Slow:
    """Renewals of which the first forty fail slowly: of these at most a share runs. In the place of the flow."""

    def __init__(self, share: RetryShare, seconds: float) -> None:
        self.done: list[CertId] = []
        self.most = 0
        self._share = share
        self._seconds = seconds
        self._running = 0
        self._lock = threading.Lock()

    def run(self, cert_id: CertId) -> Outcome:
        if cert_id in GOOD:
            self.done.append(cert_id)
            return Skipped(cert_id=cert_id, reason="good")
        with self._share.room(cert_id) as admitted:
            if not admitted:
                return Skipped(cert_id=cert_id, reason="later", queued=True)
            return self._tried(cert_id)

    def _tried(self, cert_id: CertId) -> Outcome:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(self._seconds)
        with self._lock:
            self._running -= 1
        self.done.append(cert_id)
        return Skipped(cert_id=cert_id, reason="tried")


@pytest.mark.parametrize("follow_up", [True, False], ids=["daemon", "one pass"])
def test_forty_that_fail_do_not_delay_the_others_and_each_gets_its_turn(follow_up: bool) -> None:
    queue, share = queue_in_memory(), RetryShare(4)
    nothing: Any = None
    slow: Any = Slow(share, 0.05)
    later = Later(queue, Outages())
    flows = Flows(
        reconcile=nothing,
        renew=slow,
        publish=nothing,
        poll=nothing,
        revoke=nothing,
        collect=nothing,
        clock=lambda: datetime.now(UTC),
        retries=share,
        follow_up=follow_up,
    )
    declare(queue, flows, lambda _: None, later)
    for cert_id in [*FAILING, *GOOD]:
        queue.send(messages.renew(cert_id))
    worker = dramatiq.Worker(queue.broker, queues={messages.RENEW}, worker_threads=4, worker_timeout=20)
    worker.start()
    try:
        while True:
            queue.broker.join(messages.RENEW)
            if not later.settle():
                break
    finally:
        worker.stop()
        queue.close()
    assert slow.most == 1
    assert sorted(slow.done) == [*FAILING, *GOOD]
    assert set(slow.done[:30]) >= set(GOOD)


@pytest.mark.parametrize("tries", [0, 5, 500])
def test_what_another_certificate_holds_is_asked_for_again_soon_however_often(tries: int) -> None:
    class Held:
        def run(self, cert_id: CertId) -> Outcome:
            raise Busy(f"another certificate has what {cert_id} needs")

    calls: list[tuple[Any, timedelta]] = []

    class Noted:
        def send(self, message: messages.Message, *, delay: timedelta) -> None:
            calls.append((message.args, delay))

    held: Any = Held()
    noted: Any = Noted()
    for follow_up in (True, False):
        queue = queue_in_memory()
        flows = Flows(
            reconcile=held,
            renew=held,
            publish=held,
            poll=held,
            revoke=held,
            collect=held,
            clock=held,
            follow_up=follow_up,
        )
        declare(queue, flows, held, noted)
        queue.broker.get_actor("renew").fn(7, tries)
    assert [args for args, _ in calls] == [(7, tries + 1)] * 2
    assert all(delay <= timedelta(seconds=10) for _, delay in calls)


def test_one_that_found_no_room_is_looked_at_in_time_though_its_turn_were_lost() -> None:
    class Full:
        def run(self, cert_id: CertId) -> Outcome:
            return Skipped(cert_id=cert_id, reason="later", queued=True)

    class Noted:
        def send(self, message: messages.Message, *, delay: timedelta) -> None:
            calls.append((tuple(message.args), delay))

    calls: list[tuple[Any, timedelta]] = []
    full: Any = Full()
    noted: Any = Noted()
    share = RetryShare(4)
    queue = queue_in_memory()
    with share.room(CertId(1)):
        flows = Flows(
            reconcile=full, renew=full, publish=full, poll=full, revoke=full, collect=full, clock=full, retries=share
        )
        declare(queue, flows, full, noted)
        queue.broker.get_actor("renew").fn(7)
    assert calls == [((7,), PARKED)]
    assert share.freed() == CertId(7)


NOW = datetime(2026, 7, 1, tzinfo=UTC)


def test_what_was_never_issued_may_wait_once_it_has_failed() -> None:
    assert not renewal.may_wait(CertState(failures=0), NOW)
    assert renewal.may_wait(CertState(failures=1), NOW)


@pytest.mark.parametrize(("days", "waits"), [(1, False), (2, False), (4, True), (30, True)])
def test_what_runs_out_soon_waits_for_nobody_though_it_has_failed(days: int, waits: bool) -> None:
    issued: Any = SimpleNamespace(not_after=NOW + timedelta(days=days))
    assert renewal.may_wait(CertState(failures=3, issued=issued), NOW) is waits
