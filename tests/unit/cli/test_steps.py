"""Whoever follows a renewal hears each step once, in order, however quickly it was over."""

from __future__ import annotations

from dataclasses import replace

from knit.cli.steps import AFTER, BACK, Steps
from knit.cli.waited import DOING
from knit.core.events import Event, Kind
from knit.core.model.attempt import ENDED, Step
from knit.core.model.certificate import CertId
from tests.unit.cli.test_progress import SEEN
from tests.unit.cli.test_story import Pages, event

OURS = CertId(7)


def test_steps_between_two_looks_are_all_told_once() -> None:
    events: list[Event] = [event(1, Kind.RENEWAL_REQUESTED)]
    steps = Steps(Pages(events), OURS)
    assert list(steps.news()) == []
    events += [event(2, Kind.RENEWAL_STARTED), event(3, Kind.KEY_STAGED), event(4, Kind.ORDER_PLACED)]
    assert list(steps.news()) == [(OURS, Step.PLANNED), (OURS, Step.KEY_STAGED), (OURS, Step.ORDERED)]
    assert list(steps.news()) == []


def test_what_is_shown_is_at_the_step_that_was_told_last() -> None:
    events: list[Event] = []
    steps, seen = Steps(Pages(events), OURS), replace(SEEN, id=OURS, step="ordered")
    assert steps.at(seen).step is Step.ORDERED, "as it was before anything happened"
    events.append(event(1, Kind.ORDER_FINALIZING))
    list(steps.news())
    assert steps.at(seen).step is Step.FINALIZING
    events.append(event(2, Kind.CERTIFICATE_PUBLISHED))
    list(steps.news())
    assert steps.at(seen).step is None, "the attempt is over"


def test_an_event_that_was_committed_after_later_ones_is_not_missed() -> None:
    events = [event(BACK + 5, Kind.KEY_STAGED)]
    steps = Steps(Pages([replace(events[0], id=1)]), OURS)
    steps._events = Pages(events)
    assert list(steps.news()) == [(OURS, Step.KEY_STAGED)]
    events.insert(0, event(BACK, Kind.RENEWAL_STARTED))
    assert list(steps.news()) == [(OURS, Step.PLANNED)]
    assert steps.at(replace(SEEN, id=OURS)).step is Step.KEY_STAGED, "which has come after it"


def test_every_step_that_goes_on_has_its_event_and_its_words() -> None:
    assert {step for step in AFTER.values() if step is not None} == set(Step) - ENDED == set(DOING)
