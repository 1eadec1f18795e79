"""Token buckets: what an order costs, whether there is room, and whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core import budget, domains, limits
from knit.core.budget import SLOW, URGENT, WAITS, BucketKey, Cost, Ledger, Level, costs
from knit.core.limits import LETS_ENCRYPT, Limit, Model, Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import CertState
from knit.core.turns import Ask, Turn, turns
from tests.unit.core.test_lost import issued

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CA = "https://ca.example/directory"
SMALL = Model(
    name="small",
    rates={
        Limit.ORDERS: Rate.of(10, timedelta(minutes=10)),
        Limit.DOMAIN: Rate.of(5, timedelta(hours=5)),
        Limit.SET: Rate.of(2, timedelta(hours=10)),
    },
    spared_renewals=frozenset({Limit.ORDERS, Limit.DOMAIN}),
    spares_replaced=True,
)


@dataclass(slots=True)
class TheCA:
    """The same limits, counted by the CA's own book: each instant at which a bucket was charged."""

    model: Model
    charged: dict[BucketKey, list[datetime]] = field(default_factory=dict)

    def order(self, asked: Iterable[Cost], at: datetime) -> bool:
        """Whether all buckets have a token then, by playing every charge back from a full bucket."""
        taken = [self._takes(cost, at) for cost in asked]
        return all(taken)

    def _takes(self, cost: Cost, at: datetime) -> bool:
        rate, level, last = cost.rate, float(cost.rate.count), at
        book = self.charged.setdefault(cost.key, [])
        for instant in [*book, at]:
            level = min(float(rate.count), level + (instant - min(last, instant)) / rate.every) - 1
            last = instant
        book.append(at)
        return level > -1e-6


def ask(number: int, names: Sequence[str], *, share: float = WAITS, model: Model = SMALL, renewal: bool = False) -> Ask:
    return Ask(
        cert_id=CertId(number),
        costs=costs(model, CA, names, renewal=renewal),
        share=share,
        ends=NOW + timedelta(days=number % 7),
        group=domains.of_names(names),
    )


def fresh(asks: Iterable[Ask] = ()) -> Ledger:
    return Ledger({}, {}, NOW)


def run(asks: Sequence[Ask], ledger: Ledger | None = None) -> list[Turn]:
    return list(turns(asks, ledger or fresh(), NOW))


def test_what_an_order_costs() -> None:
    names = ("a.example.org", "b.example.org", "example.net")
    assert {(cost.key.limit, cost.key.subject) for cost in costs(LETS_ENCRYPT, CA, names)} == {
        (Limit.ORDERS, ""),
        (Limit.DOMAIN, "example.org"),
        (Limit.DOMAIN, "example.net"),
        (Limit.SET, "a.example.org,b.example.org,example.net"),
    }
    assert [cost.key.limit for cost in costs(LETS_ENCRYPT, CA, names, renewal=True)] == [Limit.SET]
    assert costs(LETS_ENCRYPT, CA, names, renewal=True, replaces=True) == ()
    assert costs(limits.NONE, CA, names) == ()
    assert len(costs(replace(LETS_ENCRYPT, spares_replaced=False), CA, names, replaces=True)) == 4


def test_a_set_of_many_names_is_a_short_subject_of_its_own() -> None:
    many = [f"host-{number}.example.org" for number in range(100)]
    one, other = budget.subject_of_set(many), budget.subject_of_set([*many[:-1], "z.example.org"])
    assert one != other
    assert one == budget.subject_of_set(many[::-1])
    assert len(one) <= budget.LONGEST_SUBJECT + 2


@pytest.mark.parametrize(("days", "counts"), [(1, True), (89, True), (91, False)])
def test_a_ca_knows_a_set_of_names_for_some_weeks(days: int, counts: bool) -> None:
    known = replace(issued(), directory=CA, names_key="a.example", not_before=NOW - timedelta(days=days))
    assert budget.is_renewal(known, CA, "a.example", NOW) is counts
    assert not budget.is_renewal(known, CA, "a.example,b.example", NOW)
    assert not budget.is_renewal(known, "https://other.example/", "a.example", NOW)
    assert not budget.is_renewal(None, CA, "a.example", NOW)


def test_what_expires_soon_may_use_all_and_what_keeps_failing_half() -> None:
    soon = replace(issued(), not_after=NOW + timedelta(days=2.9))
    later = replace(issued(), not_after=NOW + timedelta(days=3.1))
    assert budget.share(CertState(issued=soon, failures=9), NOW) == URGENT
    assert budget.share(CertState(issued=later), NOW) == WAITS
    assert budget.share(CertState(), NOW) == WAITS
    assert budget.share(CertState(failures=4), NOW) == SLOW
    assert budget.share(CertState(failures=3), NOW) == WAITS


@pytest.mark.parametrize(("share", "admitted"), [(SLOW, 150), (WAITS, 240), (URGENT, 300)])
def test_a_bucket_gives_as_much_at_once_as_the_share_allows_and_then_one_by_one(share: float, admitted: int) -> None:
    (cost,) = (one for one in costs(LETS_ENCRYPT, CA, ("a.example",)) if one.key.limit is Limit.ORDERS)
    ledger = fresh()
    for _ in range(admitted):
        assert ledger.ready(cost, share, NOW) == NOW
        ledger.charge([cost], NOW)
    assert ledger.ready(cost, share, NOW) == NOW + timedelta(seconds=36)
    assert ledger.left(cost.key, cost.rate, NOW) == 300 - admitted
    assert ledger.left(cost.key, cost.rate, NOW + timedelta(seconds=36)) == 301 - admitted
    assert ledger.left(cost.key, cost.rate, NOW + timedelta(hours=4)) == 300


def test_a_bucket_of_one_gives_its_one() -> None:
    assert budget.most(Rate.of(1, timedelta(hours=1)), SLOW) == 1


def test_tokens_held_by_orders_under_way_are_not_given_twice() -> None:
    (cost,) = (one for one in costs(LETS_ENCRYPT, CA, ("a.example",)) if one.key.limit is Limit.SET)
    held = Ledger({cost.key: Level(NOW - timedelta(days=9), held=4)}, {cost.key: cost.rate}, NOW)
    assert held.ready(cost, WAITS, NOW) > NOW
    assert held.ready(cost, URGENT, NOW) == NOW


def test_five_thousand_certificates_of_one_domain_do_not_delay_one_of_another() -> None:
    without = replace(SMALL, rates={Limit.ORDERS: Rate.of(300, timedelta(hours=3))})
    many = [ask(number, (f"h{number}.example.org",), model=without) for number in range(5000)]
    one = ask(9999, ("www.example.net",), model=without)
    found = run([*many, one])
    assert next(turn.at for turn in found if turn.ask is one) == NOW
    spread = [turn.at for turn in found]
    assert spread[:240] == [NOW] * 240
    assert spread[-1] - NOW == timedelta(seconds=36) * (5001 - 240)
    late = run([ask(9999, ("www.example.net",), model=without)], exhausted(many[:240]))
    assert late[0].at - NOW == timedelta(seconds=36)


def exhausted(asks: Sequence[Ask]) -> Ledger:
    ledger = fresh()
    for one in asks:
        ledger.charge(one.costs, NOW)
    return ledger


def test_five_thousand_new_certificates_of_one_domain_are_spread_at_the_pace_of_its_limit() -> None:
    found = run([ask(number, (f"h{number}.example.org",), model=LETS_ENCRYPT) for number in range(5000)])
    assert Counter(turn.at for turn in found)[NOW] == 40
    assert found[499].at == NOW + timedelta(seconds=12096) * 460
    assert {turn.limit for turn in found[40:]} == {BucketKey(CA, Limit.DOMAIN, "example.org")}


def test_what_expires_soon_goes_first_and_what_keeps_failing_last() -> None:
    model = replace(SMALL, rates={Limit.ORDERS: Rate.of(10, timedelta(minutes=10))})
    shares = [SLOW] * 6 + [WAITS] * 6 + [URGENT] * 6
    asks = [ask(n, (f"x{n}.example",), share=share, model=model) for n, share in enumerate(shares)]
    found = run(asks)
    assert [turn.ask.share for turn in found] == [URGENT] * 6 + [WAITS] * 6 + [SLOW] * 6


def test_a_renewal_that_the_account_is_not_charged_for_waits_for_nobody() -> None:
    model = replace(SMALL, rates={**SMALL.rates, Limit.ORDERS: Rate.of(1, timedelta(days=9))})
    waiting = [ask(number, (f"h{number}.example",), model=model, share=URGENT) for number in range(3)]
    free = ask(7, ("www.example.net",), model=model, renewal=True)
    assert next(turn.at for turn in run([*waiting, free]) if turn.ask is free) == NOW


def test_a_set_of_names_that_must_wait_holds_up_no_other_of_its_domain() -> None:
    ledger = exhausted([ask(1, ("a.example",)), ask(1, ("a.example",))])
    found = run([ask(1, ("a.example",)), ask(2, ("b.a.example",))], ledger)
    assert [(turn.ask.cert_id, turn.at == NOW) for turn in found] == [(2, True), (1, False)]


NAMES = st.sampled_from([f"h{number}.{domain}.example" for number in range(4) for domain in "abc"])
ASKS = st.lists(
    st.tuples(
        st.lists(NAMES, min_size=1, max_size=3, unique=True),
        st.sampled_from([WAITS, URGENT, SLOW]),
        st.booleans(),
    ),
    max_size=60,
).map(
    lambda found: [
        ask(number, tuple(names), share=share, renewal=renewal) for number, (names, share, renewal) in enumerate(found)
    ]
)


@given(ASKS)
def test_no_order_is_one_too_many_for_the_ca_and_each_has_its_turn(asks: list[Ask]) -> None:
    ca, found = TheCA(SMALL), run(asks)
    assert sorted(turn.ask.cert_id for turn in found) == [one.cert_id for one in asks]
    for turn in sorted(found, key=lambda turn: turn.at):
        assert ca.order(turn.ask.costs, turn.at)


@given(ASKS)
def test_nobody_waits_longer_than_if_all_tokens_were_wanted_before_him(asks: list[Ask]) -> None:
    slowest = max(rate.every for rate in SMALL.rates.values())
    bound = NOW + slowest * (3 * len(asks) + 10)
    assert all(turn.at <= bound for turn in run(asks))


@given(ASKS, ASKS)
def test_more_that_was_spent_before_makes_nothing_come_sooner(asks: list[Ask], spent: list[Ask]) -> None:
    less, more = exhausted([]), exhausted(spent)
    for one in asks:
        for cost in one.costs:
            assert less.ready(cost, one.share, NOW) <= more.ready(cost, one.share, NOW)
            assert more.ready(cost, URGENT, NOW) <= more.ready(cost, WAITS, NOW) <= more.ready(cost, SLOW, NOW)
            later = NOW + timedelta(hours=3)
            assert more.ready(cost, one.share, later) == max(later, more.ready(cost, one.share, NOW))


@given(ASKS)
def test_what_need_not_wait_has_room_now_and_what_waits_is_told_for_what(asks: list[Ask]) -> None:
    for turn in run(asks):
        assert (turn.limit is None) == (turn.at == NOW)


@pytest.mark.parametrize(("seconds", "rounded"), [(0, 0), (36, 36), (300, 300), (301, 600), (12096, 12300)])
def test_what_waits_long_is_looked_at_together_with_others_and_never_too_soon(seconds: int, rounded: int) -> None:
    assert budget.rounded(NOW + timedelta(seconds=seconds), NOW) == NOW + timedelta(seconds=rounded)


def test_a_long_queue_costs_each_of_its_orders_the_same() -> None:
    """Counted in looks at buckets: how often a bucket is looked at does not grow with the queue."""
    looks: dict[int, float] = {}
    for count in (200, 2000):
        ledger = Looked({}, {}, NOW)
        found = list(
            turns([ask(n, (f"h{n}.d{n % 7}.example",), model=LETS_ENCRYPT) for n in range(count)], ledger, NOW)
        )
        assert len(found) == count
        looks[count] = ledger.looks / count
    assert looks[2000] < looks[200] * 1.5


class Looked(Ledger):
    looks = 0

    def ready(self, cost: Cost, share: float, now: datetime) -> datetime:
        self.looks += 1
        return super().ready(cost, share, now)
