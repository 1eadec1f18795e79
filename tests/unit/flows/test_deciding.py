"""What a pass decides about certificates for which a CA's limits leave no room."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from knit.core import budget
from knit.core.brake import Pace
from knit.core.budget import BucketKey, Level
from knit.core.limits import Limit, Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import Candidate, CertState, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.model.verdict import Act, Verdict
from knit.core.renewal import SOON
from knit.flows.deciding import Deciding
from knit.flows.room import Room
from tests.unit.core.test_lost import DIRECTORY, NOW, issued, spec

CA = Terms(name="acme", directory=DIRECTORY, limits="letsencrypt")


@dataclass
class World:
    """All buckets of this CA's domains are empty for weeks, and some certificates know that."""

    rows: dict[CertId, Candidate] = field(default_factory=dict)
    waits: dict[CertId, Wait] = field(default_factory=dict)
    read: list[CertId] = field(default_factory=list)

    def levels(self, keys: Collection[BucketKey]) -> Mapping[BucketKey, Level]:
        empty = NOW + timedelta(days=30)
        return {key: Level(empty) for key in keys if key.limit is Limit.DOMAIN}

    def every(self) -> Mapping[BucketKey, Level]:
        return {}

    def exhausted(self, key: BucketKey, rate: Rate, until: datetime) -> None: ...

    def wait(self, waits: Mapping[CertId, Wait], rules: Rules) -> None:
        self.waits |= waits

    def waiting(self, at: datetime, reasons: Collection[str] | None = None) -> Mapping[CertId, Wait]:
        return {
            cert_id: wait
            for cert_id, wait in self.waits.items()
            if wait.until > at and (reasons is None or wait.reason in reasons)
        }

    def pace(self, reasons: Iterable[str], at: datetime) -> Pace:
        return Pace(enabled=1, begun=0)

    def candidates_of(self, ids: Sequence[CertId]) -> Iterable[Candidate]:
        self.read += ids
        return [self.rows[cert_id] for cert_id in ids]

    def deciding(self, *issuers: Terms, refused: Mapping[str, str] | None = None) -> Deciding:
        room = Room(store=self, clock=lambda: NOW)
        return Deciding(store=self, room=room, rules=Rules(issuers=issuers or (CA,)), refused=refused or {})

    def passed(self, *cert_ids: int, now: datetime = NOW) -> Sequence[Verdict]:
        """A pass that finds these, and writes down what waits."""
        verdicts = self.deciding().verdicts([self.rows[CertId(cert_id)] for cert_id in cert_ids], now)
        self.wait({one.cert_id: one.wait for one in verdicts if one.wait is not None}, Rules(issuers=(CA,)))
        return verdicts


def new(cert_id: int, name: str, issuer: str = "") -> Candidate:
    """A certificate that was never issued."""
    found = replace(spec(), id=CertId(cert_id), names=(name,), issuer=issuer)
    return Candidate(spec=found, state=CertState())


def test_what_has_no_room_is_looked_at_again_when_it_begins_to_expire_soon() -> None:
    """From then on it may use more of each bucket: its turn among those that can wait may come after its end."""
    renamed = replace(spec(), names=("b.example",))
    state = CertState(issued=issued(days=10))
    (verdict,) = World().deciding().verdicts([Candidate(spec=renamed, state=state)], NOW)
    assert verdict.act is Act.OVER_BUDGET
    assert verdict.until == NOW + timedelta(days=10) - SOON


def test_a_newcomer_without_room_waits_behind_the_others_which_are_not_written_again() -> None:
    rows = [new(number, f"h{number}.a.example") for number in range(1, 6)] + [new(6, "h.b.example")]
    world = World({one.cert_id: one for one in rows})
    first = {one.cert_id: one.until for one in world.passed(1, 2, 3, 4, 6)}
    assert world.read == []
    (verdict,) = world.passed(5, now=NOW + timedelta(seconds=7))
    assert verdict.cert_id == 5
    assert verdict.until is not None
    assert verdict.until > max(until for cert_id, until in first.items() if until is not None and cert_id != 6)
    assert world.read == [1, 2, 3, 4], "and not what waits for another domain"


def test_what_waits_is_written_again_when_something_urgent_goes_before_it() -> None:
    rows = [new(number, f"h{number}.a.example") for number in (2, 3)]
    urgent = Candidate(
        spec=replace(spec(), id=CertId(1), names=("x.a.example",)),
        state=CertState(issued=replace(issued(days=2), names_key="y.a.example")),
    )
    world = World({one.cert_id: one for one in (*rows, urgent)})
    before = {one.cert_id: one.until for one in world.passed(2, 3)}
    after = {one.cert_id: one.until for one in world.passed(1)}
    assert set(after) == {1, 2, 3}
    assert all(after[cert_id] > until for cert_id, until in before.items())  # type: ignore[operator]


def test_certificates_of_a_refused_issuer_are_for_others_to_decide_also_where_they_wait() -> None:
    theirs, ours, more = new(1, "1.a.example", "b"), new(2, "2.a.example", "a"), new(3, "3.a.example", "a")
    both = (replace(CA, name="a"), replace(CA, name="b"))
    world = World({one.cert_id: one for one in (theirs, ours, more)})
    deciding = world.deciding(*both, refused={"b": "it has moved"})
    assert [one.cert_id for one in deciding.verdicts([theirs, ours], NOW)] == [2]
    reason = budget.said(BucketKey(DIRECTORY, Limit.DOMAIN, "a.example"))
    world.wait({CertId(1): Wait(until=NOW + timedelta(days=1), reason=reason)}, Rules(issuers=both))
    verdicts = deciding.verdicts([more], NOW)
    assert world.read == [1]
    assert [one.cert_id for one in verdicts] == [3]


def test_a_renewal_is_counted_as_one_at_the_time_that_is_asked_about() -> None:
    born = replace(issued(days=200), not_before=NOW - timedelta(days=80))
    lost = Candidate(spec=spec(), state=CertState(issued=born, published=False))
    costs = {}
    for later in (timedelta(0), timedelta(days=20)):
        (verdict,) = World().deciding().verdicts([lost], NOW + later)
        costs[later.days] = {cost.key.limit for cost in verdict.costs}
    assert costs == {0: {Limit.SET}, 20: {Limit.SET, Limit.DOMAIN, Limit.ORDERS}}


@pytest.mark.parametrize(
    ("turn", "ends", "again"),
    [(5, 30, 5), (5, 6, 3), (5, 3, 5), (5, 1, 5), (5, -1, 5)],
    ids=["its turn is sooner", "it expires soon before that", "it expires soon already", "sooner", "it has expired"],
)
def test_a_turn_that_comes_after_the_last_days_begin_is_not_waited_for(turn: int, ends: int, again: int) -> None:
    at = budget.look_again(NOW + timedelta(days=turn), NOW + timedelta(days=ends), NOW)
    assert at == NOW + timedelta(days=again)
