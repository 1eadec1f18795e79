"""CAs are asked when they would have certificates renewed: whom, in which order, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.ari import Answer, Outcome, Question, Window
from knit.core.model.certificate import CertId
from knit.core.model.decision import Rules
from knit.core.model.issuer import Terms
from knit.core.model.results import Polled
from knit.errors import Interrupted, KnitError, Misconfigured, RateLimited, Refused, Unreachable
from knit.flows.poll import LONGEST, PORTION, Poll
from knit.ports.renewal_info import Adviser

NOW = datetime(2026, 11, 26, tzinfo=UTC)
WINDOW = Window(start=NOW + timedelta(days=50), end=NOW + timedelta(days=52), explanation="https://ca.example/why")
RULES = Rules(
    issuers=(
        Terms(name="one", directory="https://one.example/dir"),
        Terms(name="two", directory="https://two.example/dir"),
        Terms(name="own", kind="selfsigned", directory="selfsigned:own"),
    )
)


def question(number: int, issuer: str = "one", **changes: object) -> Question:
    directory = next((one.directory for one in RULES.issuers if one.name == issuer), "https://gone.example/dir")
    asked = Question(
        cert_id=CertId(number),
        ari_id=f"aki.{number}",
        issuer=issuer,
        directory=directory,
        not_before=NOW,
        not_after=NOW + timedelta(days=90),
        wanted=True,
        failures=0,
        first=False,
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


@dataclass
class World:
    """The store, all CAs, and the clock."""

    waiting: list[Question]
    errors: dict[str, KnitError] = field(default_factory=dict)
    offers: bool = True
    takes: timedelta = timedelta(0)
    asked: list[str] = field(default_factory=list)
    kept: list[Outcome] = field(default_factory=list)
    given_back: list[Question] = field(default_factory=list)
    now: datetime = NOW

    def due(self) -> bool:
        return bool(self.waiting)

    def take(self, most: int) -> Sequence[Question]:
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    def give_back(self, questions: Sequence[Question]) -> None:
        self.given_back += questions

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        self.kept += outcomes

    def adviser(self, issuer: str) -> Adviser | None:
        if issuer in self.errors:
            raise self.errors[issuer]
        return None if issuer == "own" else self

    def renewal_info(self, ari_id: str) -> Answer | None:
        self.asked.append(ari_id)
        self.now += self.takes
        if ari_id in self.errors:
            raise self.errors[ari_id]
        return Answer(window=WINDOW, ask_again=self.now + timedelta(hours=2)) if self.offers else None

    def run(self) -> Polled:
        return Poll(store=self, advisers=self, rules=RULES, clock=lambda: self.now).run()

    def about(self, number: int) -> Outcome:
        return next(one for one in self.kept if one.question.cert_id == number)


def test_what_a_ca_says_is_kept_with_the_instant_and_the_next_question() -> None:
    world = World([question(1), question(2, "two")])
    polled = world.run()
    assert (polled.asked, polled.more, polled.down) == (2, False, {})
    assert polled.up == {"one", "two"}
    one = world.about(1)
    assert (one.window, one.error) == (WINDOW, None)
    assert one.chosen_at is not None
    assert WINDOW.start <= one.chosen_at <= WINDOW.end
    assert timedelta(hours=2) <= one.next_poll_at - NOW <= timedelta(hours=2.2)


def test_what_the_ca_of_an_issuer_that_is_not_known_here_has_said_stays() -> None:
    """Another process may know it."""
    world = World([question(1, "gone")])
    world.run()
    assert world.about(1).error == "no issuer here has the directory https://gone.example/dir"
    assert world.asked == []


def test_an_issuer_that_suggests_nothing_is_asked_once_a_day() -> None:
    world = World([question(1, "own")])
    world.run()
    assert (world.about(1).window, world.about(1).error) == (None, None)
    assert world.about(1).next_poll_at == NOW + timedelta(days=1)
    assert world.asked == []


def test_a_ca_that_offers_it_no_more_leaves_nothing_of_what_it_said() -> None:
    world = World([question(1)], offers=False)
    world.run()
    assert (world.about(1).window, world.about(1).chosen_at, world.about(1).error) == (None, None, None)


def test_nobody_is_asked_about_what_is_disabled_unpublished_or_expired() -> None:
    world = World([question(1, wanted=False)])
    assert world.run().asked == 0
    assert world.asked == []


@pytest.mark.parametrize("error", [Unreachable("no answer"), RateLimited("too many"), Misconfigured("no such roots")])
def test_a_ca_that_is_down_is_asked_once_in_a_run_and_others_are_asked_all_the_same(error: KnitError) -> None:
    world = World([question(1), question(2), question(3, "two")], {"aki.1": error})
    polled = world.run()
    assert world.asked == ["aki.1", "aki.3"]
    assert polled.down == {"one": error}
    assert polled.up == {"two"}
    assert [world.about(number).error for number in (1, 2, 3)] == [str(error), str(error), None]
    assert world.about(2).next_poll_at > NOW


def test_an_issuer_that_cannot_be_opened_leaves_others_alone() -> None:
    world = World([question(1), question(2, "two")], {"one": Misconfigured("no such file")})
    assert world.run().up == {"two"}
    assert world.about(1).error == "no such file"


def test_what_a_ca_says_of_one_certificate_is_about_that_one() -> None:
    world = World([question(1, failures=4), question(2)], {"aki.1": Refused("no such certificate")})
    polled = world.run()
    assert (polled.down, world.about(2).error) == ({}, None)
    assert timedelta(minutes=16) <= world.about(1).next_poll_at - NOW <= timedelta(minutes=18)


def test_a_run_has_an_end_and_gives_back_what_it_has_not_asked() -> None:
    world = World([question(number) for number in range(1, 200)], takes=LONGEST / 60)
    polled = world.run()
    assert polled.more
    assert len(world.kept) == polled.asked == 60
    assert [one.cert_id for one in world.given_back] == list(range(61, 2 * PORTION + 1))


def test_a_process_that_is_told_to_stop_keeps_what_was_answered() -> None:
    world = World([question(1), question(2), question(3)], {"aki.2": Interrupted("stopping")})
    with pytest.raises(Interrupted):
        world.run()
    assert [one.question.cert_id for one in world.kept] == [1]
    assert [one.cert_id for one in world.given_back] == [2, 3]
