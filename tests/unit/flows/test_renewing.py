"""What becomes of an attempt that fails: what is kept, what ends, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from knit.core.brake import MASS_COUNT
from knit.core.events import KEPT
from knit.core.model.attempt import Attempt, AttemptId, Failed, Renewed
from knit.core.model.certificate import CertId
from knit.core.model.decision import CertState, Known, Losses
from knit.core.model.issuer import Terms
from knit.errors import (
    AccountLimited,
    BundleMismatch,
    Busy,
    IdentifierRejected,
    Interrupted,
    LeaseLost,
    OrderKept,
    OrderLost,
    Outage,
    RateLimited,
    Unreachable,
)
from knit.flows.renewing import HELD_BACK, Renewing, Superseded
from knit.flows.room import Room
from tests.unit.core.test_x509 import NOW
from tests.unit.flows.test_orders import BEGUN, FINALIZED, SPEC

DONE = Renewed(cert_id=SPEC.id, attempt_id=AttemptId(2))
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@dataclass
class World:
    """All ports of a renewal; each order that is filled ends as the next of `ends` says."""

    ends: list[Exception | None]
    steps: list[tuple[str, Any]] = field(default_factory=list)
    losses_are: Losses = field(default_factory=lambda: Losses(until=None, begun=0, enabled=0))
    is_newer: bool = False

    @property
    def this(self) -> Any:
        return self

    store = staging = values = pauses = rules = belonging = this
    id = "ours"

    def renewing(self, *, failures: int = 0, tries: int = 0) -> Renewing:
        known = Known(
            spec=SPEC,
            state=CertState(failures=failures),
            leftovers=False,
            newest=BEGUN.id,
            tries=tries,
            refused=False,
        )
        return Renewing(ports=self.this, spec=SPEC, known=known, lease=SimpleNamespace(name="l"))

    def said(self, what: str) -> list[Any]:
        return [about for name, about in self.steps if name == what]

    def clock(self) -> datetime:
        return NOW

    def terms(self, attempt: Attempt) -> Terms:
        return Terms(name=attempt.issuer, directory=attempt.directory)

    def terms_of(self, _: object) -> tuple[Terms, ...]:
        return (self.terms(BEGUN),)

    def take_newer(self, *_: object) -> bool:
        self.steps.append(("looked for a newer value", None))
        return self.is_newer

    def abandon(self, _: object, attempt: Attempt, why: str) -> None:
        self.steps.append(("abandoned", attempt.id))

    @property
    def room(self) -> Room:
        return Room(store=self.this, clock=self.clock)

    def begin(self, *_: object, newest: AttemptId, **given: object) -> Attempt:
        self.steps.append(("begun", newest))
        return replace(BEGUN, id=AttemptId(newest + 1))

    def resume(self, _: object, attempt: Attempt) -> Attempt:
        return attempt

    def filled(self, **parts: Any) -> Any:
        def fill(_: object) -> Renewed:
            self.steps.append(("filled", parts["attempt"].id))
            if (error := self.ends.pop(0)) is not None:
                raise error
            return DONE

        return SimpleNamespace(fill=fill)

    def postpone(self, _: object, attempt: Attempt, *, error: Exception, retry_at: datetime) -> None:
        self.steps.append(("postponed", retry_at - NOW))

    def fail(self, _: object, attempt: Attempt, *, error: Exception, retry_at: datetime) -> None:
        self.steps.append(("failed", retry_at - NOW))

    def lose(self, _: object, attempt: Attempt, *, error: Exception) -> None:
        self.steps.append(("lost", attempt.id))

    def losses(self, _: CertId, *, most: int) -> Losses:
        assert most == 2
        return self.losses_are

    def begin_pause(self, *_: object) -> None:
        self.steps.append(("account pauses", None))

    def discard(self, attempts: Iterable[AttemptId]) -> None:
        self.steps.append(("discarded", list(attempts)))

    def tell(self, told: Any) -> None:
        self.steps.append(("told", told.kind.value))


Make = Callable[..., World]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(*ends: Exception | None, **other: Any) -> World:
        made = World(list(ends), **other)
        monkeypatch.setattr("knit.flows.renewing.Ordering", made.filled)
        return made

    return make


def about(found: timedelta, wanted: timedelta) -> bool:
    return 0.75 * wanted < found < 1.25 * wanted


@pytest.mark.parametrize("error", [Busy("another's"), Interrupted("stop"), Outage("PostgreSQL is away")])
def test_what_is_no_failure_leaves_the_attempt_to_be_gone_on_with_at_once(world: Make, error: Exception) -> None:
    ports = world(error)
    with pytest.raises(type(error)):
        ports.renewing().resume(FINALIZED)
    assert ports.said("postponed") == [timedelta(0)]
    assert ports.said("told") == ports.said("discarded") == []


def test_a_worker_that_has_lost_its_lease_writes_nothing_more(world: Make) -> None:
    ports = world(LeaseLost("another's"))
    with pytest.raises(LeaseLost):
        ports.renewing().resume(FINALIZED)
    assert [name for name, _ in ports.steps] == ["filled"]


def test_an_attempt_in_which_workers_keep_dying_is_left_alone_for_a_while(world: Make) -> None:
    ports = world(None, None)
    assert ports.renewing().resume(replace(BEGUN, starts=3)) == DONE
    outcome = ports.renewing().resume(replace(BEGUN, starts=4))
    assert isinstance(outcome, Failed)
    assert "died 3 times in a row" in outcome.error
    assert len(ports.said("filled")) == 1


def test_what_the_ca_refuses_ends_the_attempt_and_its_key(world: Make) -> None:
    ports = world(IdentifierRejected("no"))
    assert isinstance(ports.renewing(failures=2).resume(BEGUN), Failed)
    assert ports.said("discarded") == [[BEGUN.id]]
    assert about(ports.said("failed")[0], 100 * MINUTE)


@pytest.mark.parametrize(("tries", "minutes"), [(0, 1), (1, 10), (2, 100)])
@pytest.mark.parametrize("error", [OrderKept("later"), BundleMismatch("odd")])
def test_an_order_that_is_kept_has_a_ladder_of_its_own(world: Make, tries: int, minutes: int, error: Exception) -> None:
    ports = world(error, error)
    ports.renewing(failures=3, tries=tries).resume(FINALIZED)
    ports.renewing(failures=3, tries=tries).resume(BEGUN)
    assert about(ports.said("postponed")[0], minutes * MINUTE)
    assert about(ports.said("postponed")[1], MINUTE), "not finalized: it begins"


@pytest.mark.parametrize(("asked", "wanted"), [(None, 10 * MINUTE), (5 * MINUTE, 10 * MINUTE), (DAY, DAY)])
def test_what_the_other_side_asks_for_only_makes_the_wait_longer(
    world: Make, asked: timedelta | None, wanted: timedelta
) -> None:
    ports = world(Unreachable("down", retry_at=None if asked is None else NOW + asked))
    ports.renewing(failures=1).resume(BEGUN)
    assert about(ports.said("postponed")[0], wanted)


@pytest.mark.parametrize(("tries", "minutes"), [(0, 1), (3, 8), (50, 60)])
def test_a_limit_is_waited_for_longer_each_time_and_is_told_as_no_failure(
    world: Make, tries: int, minutes: int
) -> None:
    ports = world(RateLimited("slow down", retry_at=NOW))
    ports.renewing(failures=3, tries=tries).resume(BEGUN)
    assert ports.said("postponed") == [minutes * MINUTE]
    assert ports.said("told") == ["renewal postponed"]
    assert ports.said("account pauses") == []
    ports = world(AccountLimited("slow down", retry_at=NOW, names_only=False))
    ports.renewing().resume(BEGUN)
    assert ports.said("account pauses") == [None]


def test_an_order_that_is_lost_is_made_anew_after_the_attempt_that_lost_it(world: Make) -> None:
    ports = world(OrderLost("gone"), OrderLost("gone too"), None)
    assert ports.renewing(tries=9).resume(FINALIZED) == DONE
    assert ports.said("lost") == [1, 2]
    assert ports.said("begun") == [1, 2]
    names = [name for name, _ in ports.steps]
    assert names[:4] == ["filled", "looked for a newer value", "lost", "told"]


def test_a_ladder_begins_anew_with_another_order(world: Make) -> None:
    ports = world(OrderLost("gone"), RateLimited("slow down", retry_at=None))
    ports.renewing(tries=5).resume(FINALIZED)
    assert ports.said("postponed") == [MINUTE]


def test_an_order_that_is_lost_while_a_newer_value_is_live_is_not_made_anew(world: Make) -> None:
    ports = world(OrderLost("gone"), is_newer=True)
    with pytest.raises(Superseded):
        ports.renewing().resume(FINALIZED)
    assert (ports.said("abandoned"), ports.said("begun")) == ([1], [])


@pytest.mark.parametrize("days", [0.1, 5])
def test_orders_that_are_lost_again_and_again_wait_until_the_week_is_over(world: Make, days: float) -> None:
    ports = world(OrderLost("gone"), losses_are=Losses(until=NOW + days * DAY, begun=0, enabled=0))
    outcome = ports.renewing().resume(FINALIZED)
    assert isinstance(outcome, Failed)
    assert "more than is safe in 7 days" in outcome.error
    assert (ports.said("begun"), ports.said("discarded")) == ([], [[1]])
    assert about(ports.said("failed")[0], max(days * DAY, DAY))


def test_orders_that_are_lost_in_masses_are_held_back_with_what_is_kept(world: Make) -> None:
    ports = world(OrderLost("gone"), losses_are=Losses(until=None, begun=MASS_COUNT, enabled=3))
    assert isinstance(ports.renewing().resume(FINALIZED), Failed)
    assert (ports.said("begun"), ports.said("lost"), ports.said("discarded")) == ([], [], [])
    assert HELD_BACK <= ports.said("postponed")[0] <= HELD_BACK + MINUTE


@pytest.mark.parametrize(("issued", "published"), [(False, True), (True, False), (True, True)])
def test_that_what_is_published_stays_is_said_only_where_something_is(
    world: Make, monkeypatch: pytest.MonkeyPatch, issued: bool, published: bool
) -> None:
    heard: list[Any] = []
    made = world(IdentifierRejected("the CA will not"))
    monkeypatch.setattr(made, "tell", heard.append)
    renewing = made.renewing()
    state = CertState(issued=cast("Any", object()) if issued else None, published=published)
    replace(renewing, known=replace(renewing.known, state=state)).resume(BEGUN)
    assert [KEPT in told.detail.values() for told in heard] == [issued and published]
