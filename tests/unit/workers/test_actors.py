"""Whatever keeps an actor from its work brings its message back, soon and then less and less often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from knit.app.queue import queue_in_memory
from knit.core import retry
from knit.core.model.attempt import AttemptId, Failed, Outcome, Renewed, Skipped
from knit.core.model.certificate import CertId
from knit.core.model.results import Polled
from knit.errors import Busy, CredentialsRejected, Interrupted, LeaseLost, Unreachable
from knit.queue import messages
from knit.queue.messages import Message
from workers.actors import BUSY, Actors, Flows, declare
from workers.local import Heard

AWAY = Unreachable("PostgreSQL does not answer")
Call = tuple[str, tuple[Any, ...], timedelta]


class Noted:
    """In the place of Later."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def send(self, message: Message, *, delay: timedelta = timedelta(0)) -> None:
        self.calls.append((message.actor_name, tuple(message.args), delay))


class Broken:
    """Every flow at once, and each raises the same."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, *_: object, **__: object) -> Outcome:
        raise self._error

    everything = waiting = run


def sent_after(error: Exception, message: Message, **more: Any) -> list[Call]:
    broken: Any = Broken(error)
    noted: Any = Noted()
    queue = queue_in_memory()
    flows = Flows(
        reconcile=broken, renew=broken, publish=broken, poll=broken, revoke=broken, collect=broken, clock=broken, **more
    )
    declare(queue, flows, broken, noted)
    queue.broker.get_actor(message.actor_name).fn(*message.args)
    calls: list[Call] = noted.calls
    return calls


class Ends:
    """A flow that ends so."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def run(self, _: CertId) -> Outcome:
        return self._outcome


EACH = [
    messages.reconcile(),
    messages.renew(CertId(7)),
    messages.publish(),
    messages.publish(CertId(7)),
    messages.poll(),
]


@pytest.mark.parametrize("message", EACH, ids=["reconcile", "renew", "publish all", "publish", "poll"])
def test_an_outage_brings_the_message_back_soon_and_counts_it(message: Message) -> None:
    ((actor, args, delay),) = sent_after(AWAY, message)
    assert (actor, args[-1]) == (message.actor_name, 1)
    assert args[:1] == message.args[:1] or actor in ("reconcile", "poll")
    assert delay == timedelta(seconds=1)


@pytest.mark.parametrize("message", EACH, ids=["reconcile", "renew", "publish all", "publish", "poll"])
def test_rights_that_a_person_must_mend_are_tried_again_too_but_slowly(message: Message) -> None:
    ((_, args, delay),) = sent_after(CredentialsRejected("Valkey does not accept our password"), message)
    assert args[-1] == 1
    assert timedelta(minutes=1) <= delay <= timedelta(minutes=5)


def test_outages_of_a_minute_cost_minutes_and_long_ones_cost_a_try_every_five() -> None:
    waits = [retry.again(tries) for tries in range(40)]
    assert waits == sorted(waits)
    for outage in (timedelta(seconds=10), timedelta(seconds=60), timedelta(minutes=10)):
        over = timedelta(0)
        for wait in waits:
            over += wait
            if over >= outage:
                break
        assert over <= max(2 * outage, timedelta(seconds=15))
    assert waits[-1] == timedelta(minutes=5)


def test_a_lost_lease_brings_another_look_once_it_may_have_run_out() -> None:
    assert sent_after(LeaseLost("gone"), messages.renew(CertId(7))) == [("renew", (7,), BUSY)]


def test_a_worker_that_stops_gives_its_message_back_as_it_came() -> None:
    assert sent_after(Interrupted("stopping"), messages.renew(CertId(7), tries=3)) == [
        ("renew", (7, 3), timedelta(0)),
    ]


def test_a_bug_is_said_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    assert sent_after(ValueError("a bug"), messages.renew(CertId(7))) == []
    assert "bug in knit: message given up" in caplog.text
    assert "ValueError: a bug" in caplog.text, "with the trace"


@pytest.mark.parametrize(("message", "again"), [(messages.reconcile(), 0), (messages.publish(), 1)])
def test_a_pass_that_must_end_reports_what_it_could_not_do(message: Message, again: int) -> None:
    heard = Heard()
    assert len(sent_after(AWAY, message, follow_up=False, tell=heard)) == again
    assert heard.failed == 1 - again


def test_a_listener_hears_once_how_each_message_ended() -> None:
    failed = Failed(cert_id=CertId(7), error="the CA said no", retry_at=None)
    renewed = Renewed(cert_id=CertId(7), attempt_id=AttemptId(1))
    for outcome in (failed, renewed):
        heard = Heard()
        ends: Any = Ends(outcome)
        nothing: Any = lambda *_, **__: None  # noqa: E731 -- in the place of four callables
        flows = Flows(
            reconcile=nothing,
            renew=ends,
            publish=nothing,
            poll=nothing,
            revoke=nothing,
            collect=nothing,
            clock=nothing,
            tell=heard,
        )
        Actors(queue=nothing, flows=flows, handed_over=nothing, later=cast("Any", Noted())).renew(CertId(7))
        assert heard.results == [outcome]
        assert (heard.outcome(), heard.failed) == (outcome, int(outcome is failed))


def test_a_certificate_that_another_worker_is_on_is_looked_at_again() -> None:
    class Elsewhere:
        def run(self, cert_id: CertId) -> Outcome:
            return Skipped(cert_id=cert_id, reason="another worker is on it", busy=True)

    noted: Any = Noted()
    nothing: Any = None
    busy: Any = Elsewhere()
    flows = Flows(
        reconcile=nothing, renew=busy, publish=nothing, poll=nothing, revoke=nothing, collect=nothing, clock=nothing
    )
    Actors(queue=nothing, flows=flows, handed_over=nothing, later=noted).renew(CertId(7))
    assert noted.calls == [("renew", (7,), BUSY)]


def test_those_that_wait_for_the_same_thing_come_back_one_by_one_and_ever_more_rarely() -> None:
    taken = Busy("another certificate is using 'x'", lock="x")
    for tries, longest in ((0, 1), (2, 4), (8, 10)):
        sent = [sent_after(taken, messages.renew(CertId(number), tries=tries))[0] for number in range(20)]
        assert {call[1][1] for call in sent} == {tries + 1}
        delays = {call[2].total_seconds() for call in sent}
        assert len(delays) == 20
        assert longest / 2 <= min(delays) < 0.7 * longest < 0.8 * longest < max(delays) <= longest


@pytest.mark.parametrize("more", [True, False])
@pytest.mark.parametrize("follow_up", [True, False])
def test_what_no_run_had_time_to_ask_is_asked_by_another_message_where_more_may_come(
    more: bool, follow_up: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Run:
        def run(self) -> Polled:
            return Polled(asked=3, more=more, down={"one": Unreachable("no answer")}, up=frozenset({"two"}))

    flow: Any = Run()
    nothing: Any = None
    noted: Any = Noted()
    queue = queue_in_memory()
    flows = Flows(
        reconcile=nothing,
        renew=nothing,
        publish=nothing,
        poll=flow,
        revoke=flow,
        collect=flow,
        clock=nothing,
        follow_up=follow_up,
    )
    declare(queue, flows, nothing, noted)
    for _ in range(2):
        queue.broker.get_actor("poll").fn()
    assert [actor for actor, *_ in noted.calls] == ["poll"] * (2 if more and follow_up else 0)
    assert [line.message for line in caplog.records if line.levelname == "WARNING"] == ["server away"]
