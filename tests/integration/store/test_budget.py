"""Token buckets in PostgreSQL: charged with the attempt, by whoever is first, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from knit.core import budget
from knit.core.budget import URGENT, WAITS, BucketKey, Cost, Ledger, costs
from knit.core.limits import LETS_ENCRYPT, Limit, Rate
from knit.core.model.attempt import Attempt, Step
from knit.core.model.certificate import CertId, CertSpec
from knit.core.model.decision import Reason, Wait
from knit.errors import Busy, Interrupted, LeaseLost, OrderLost, Outage, OverBudget, Refused, Transient
from knit.ports.leases import Lease
from knit.store.budget.budgets import Budgets
from tests.integration.store.conftest import DIRECTORY, LEAF, RULES, SHA256, TERMS, Store

HOUR = timedelta(hours=1)
Spent = dict[str, tuple[int, int]]


def taken(store: Store) -> Spent:
    """Tokens held and spent, by limit; those that have come back since are not counted as spent."""
    rates, now, found = all_rates(store), datetime.now(UTC), {}
    for key, level in Budgets(store.database).every().items():
        used = max((level.full_at - now) / rates[key].every, 0)
        found[key.limit.value] = (level.held, round(used))
    return found


def all_rates(store: Store) -> dict[BucketKey, Rate]:
    return {key: LETS_ENCRYPT.rates[key.limit] for key in Budgets(store.database).every()}


def begin(
    store: Store,
    lease: Lease | None,
    spec: CertSpec,
    *,
    asked: tuple[Cost, ...],
    unspared: tuple[Cost, ...] = (),
    share: float = WAITS,
) -> Attempt:
    assert lease is not None
    newest = store.load(spec.id).newest
    given = {"newest": newest, "costs": asked, "unspared": unspared, "share": share}
    return store.attempts.begin(lease, spec, Reason.NEVER_ISSUED, TERMS.asked(spec), "ab", **given)  # type: ignore[arg-type]


def price(spec: CertSpec) -> tuple[Cost, ...]:
    return costs(LETS_ENCRYPT, DIRECTORY, spec.names)


def tiny(count: int, limit: Limit = Limit.DOMAIN) -> tuple[Cost, ...]:
    return (Cost(BucketKey(DIRECTORY, limit, "example.org"), Rate.of(count, timedelta(days=count))),)


def test_an_attempt_holds_its_tokens_until_the_ca_has_counted_them(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = begin(store, lease, spec, asked=price(spec))
        assert lease is not None
        held = {"orders_per_account": (1, 0), "certificates_per_domain": (1, 0), "certificates_per_set": (1, 0)}
        assert taken(store) == held
        journal = store.attempts.journal(lease, attempt)
        store.attempts.key_staged(lease, attempt, "ab")
        assert taken(store) == held
        journal.ordered("https://ca.example/order/1")
        assert taken(store) == {**held, "orders_per_account": (0, 1)}
        journal.ordered("https://ca.example/order/1")
        assert taken(store)["orders_per_account"] == (0, 1)
        journal.ordered("https://ca.example/order/2")
        assert taken(store) == {**held, "orders_per_account": (0, 2)}
        for _ in range(2):
            journal.finalizing()
        spent = {"orders_per_account": (0, 2), "certificates_per_domain": (0, 1), "certificates_per_set": (0, 1)}
        assert taken(store) == spent
        store.attempts.hand_over(lease, attempt, LEAF, SHA256)
    assert taken(store) == spent


Ending = Callable[[Store, Lease, Attempt], object]
ENDINGS: dict[str, Ending] = {
    "fail": lambda store, lease, attempt: store.attempts.fail(lease, attempt, error=Refused("no"), retry_at=None),
    "abandon": lambda store, lease, attempt: store.attempts.abandon(lease, attempt, why="what is wanted has changed"),
    "lose": lambda store, lease, attempt: store.attempts.lose(lease, attempt, error=OrderLost("gone")),
    "close": lambda store, _, attempt: store.passes.close(attempt, why="nobody needs it"),
    "remove": lambda store, _, attempt: store.certs.remove(attempt.cert_id),
    "a hand": lambda store, *_: store.database.write("delete from knit_attempts"),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("ordered", [False, True])
def test_however_an_attempt_ends_what_the_ca_has_not_counted_is_given_back(
    store: Store, end: Ending, ordered: bool
) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = begin(store, lease, spec, asked=price(spec))
        assert lease is not None
        if ordered:
            store.attempts.journal(lease, attempt).ordered("https://ca.example/order/1")
        end(store, lease, attempt)
    assert taken(store) == ({"orders_per_account": (0, 1)} if ordered else {})


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_what_the_ca_has_counted_stays_spent_however_the_attempt_ends(store: Store, end: Ending) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = begin(store, lease, spec, asked=price(spec))
        assert lease is not None
        store.attempts.journal(lease, attempt).finalizing()
        end(store, lease, attempt)
    found = taken(store)
    assert (found["certificates_per_set"], found["certificates_per_domain"]) == ((0, 1), (0, 1))


@pytest.mark.parametrize("step", ["key_staged", "ordered", "finalizing"])
def test_an_attempt_that_is_put_off_holds_nothing_until_it_is_gone_on_with(store: Store, step: str) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = begin(store, lease, spec, asked=price(spec))
        assert lease is not None
        journal = store.attempts.journal(lease, attempt)
        if step != "key_staged":
            journal.ordered("https://ca.example/order/1")
        if step == "finalizing":
            journal.finalizing()
        before = taken(store)
        store.attempts.postpone(lease, attempt, error=Transient("away"), retry_at=datetime.now(UTC))
        assert all(held == 0 for held, _ in taken(store).values())
        assert {limit: spent for limit, (_, spent) in taken(store).items() if spent} == {
            limit: spent for limit, (_, spent) in before.items() if spent
        }
        store.attempts.resume(lease, attempt)
        assert taken(store) == before
        store.attempts.postpone(lease, attempt, error=Transient("away"), retry_at=datetime.now(UTC))
        store.attempts.fail(lease, attempt, error=Refused("no"), retry_at=None)
    assert all(held == 0 for held, _ in taken(store).values())


@pytest.mark.parametrize("error", [Busy("the account is being registered"), Interrupted("stopping"), Outage("away")])
def test_what_has_not_failed_keeps_its_tokens(store: Store, error: Transient) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = begin(store, lease, spec, asked=price(spec))
        assert lease is not None
        before = taken(store)
        store.attempts.postpone(lease, attempt, error=error, retry_at=datetime.now(UTC))
        assert taken(store) == before


@pytest.mark.parametrize("ordered", [False, True])
def test_only_what_has_an_order_goes_on_when_others_have_taken_its_tokens(store: Store, ordered: bool) -> None:
    first, second = store.add(1), store.add(2)
    with store.leases.hold("cert:1") as lease:
        attempt = begin(store, lease, first, asked=tiny(1))
        assert lease is not None
        if ordered:
            store.attempts.journal(lease, attempt).ordered("https://ca.example/order/1")
        store.attempts.postpone(lease, attempt, error=Transient("away"), retry_at=datetime.now(UTC))
    with store.leases.hold("cert:2") as lease:
        begin(store, lease, second, asked=tiny(1))
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        if ordered:
            assert store.attempts.resume(lease, attempt).holding
        else:
            with pytest.raises(OverBudget, match=r"registered domain \(example.org\)"):
                store.attempts.resume(lease, attempt)
            assert store.load(first.id).state.attempt == replace(attempt, holding=False, starts=0)
    assert taken(store) == {"certificates_per_domain": (1 + ordered, 0)}


def test_an_order_that_may_not_replace_is_counted_and_waits_where_there_is_no_room(store: Store) -> None:
    first, second = store.add(1), store.add(2)
    for spec, room in ((first, True), (second, False)):
        with store.leases.hold(f"cert:{spec.id}") as lease:
            attempt = begin(store, lease, spec, asked=(), unspared=tiny(1))
            assert lease is not None
            journal = store.attempts.journal(lease, attempt)
            with nullcontext() if room else pytest.raises(OverBudget, match=r"registered domain \(example.org\)"):
                journal.unreplaced("it was replaced already")
            found = store.load(spec.id).state.attempt
            assert found is not None
            assert found.holding is room
            assert taken(store) == {"certificates_per_domain": (1, 0)}
            journal.unreplaced("it was replaced already") if room else None
    assert taken(store) == {"certificates_per_domain": (1, 0)}


def test_an_order_that_is_over_costs_nothing_more_and_another_one_needs_room_of_its_own(store: Store) -> None:
    spec, orders, every = store.add(), Limit.ORDERS.value, LETS_ENCRYPT.rates[Limit.ORDERS].every
    two = Cost(BucketKey(DIRECTORY, Limit.ORDERS, ""), Rate.of(3, 3 * every))
    with store.leases.hold("cert:1") as lease:
        attempt = begin(store, lease, spec, asked=(two, *tiny(1)))
        assert lease is not None
        journal = store.attempts.journal(lease, attempt)
        journal.ordered("https://ca.example/order/1")
        journal.unordered()
        assert taken(store) == {orders: (1, 1), Limit.DOMAIN.value: (1, 0)}
        journal.ordered("https://ca.example/order/2")
        with pytest.raises(OverBudget):
            journal.unordered()
        assert taken(store) == {orders: (0, 2)}
        found = store.load(spec.id).state.attempt
        assert found is not None
        assert (found.step, found.admitted) == (Step.KEY_STAGED, False)


def test_without_room_nothing_is_begun_nothing_is_taken_and_the_next_token_has_a_date(store: Store) -> None:
    first, second = store.add(1), store.add(2)
    others = tuple(cost for cost in price(second) if cost.key.limit is not Limit.DOMAIN)
    one_left = (*others, *tiny(1))
    with store.leases.hold("cert:1") as lease:
        begin(store, lease, first, asked=tiny(1))
    before = taken(store)
    with (
        store.leases.hold("cert:2") as lease,
        pytest.raises(OverBudget, match=r"registered domain \(example.org\)") as over,
    ):
        begin(store, lease, second, asked=one_left)
    assert taken(store) == before
    assert store.load(second.id).newest is None
    assert over.value.retry_at is not None
    assert timedelta(hours=23.9) < over.value.retry_at - datetime.now(UTC) < timedelta(hours=24.1)


def test_urgent_certificates_have_the_last_fifth_to_themselves(store: Store) -> None:
    specs = [store.add(number) for number in range(1, 7)]
    asked = tiny(5)
    for spec in specs[:4]:
        with store.leases.hold(f"cert:{spec.id}") as lease:
            begin(store, lease, spec, asked=asked)
    with store.leases.hold(f"cert:{specs[4].id}") as lease:
        with pytest.raises(OverBudget):
            begin(store, lease, specs[4], asked=asked)
        begin(store, lease, specs[4], asked=asked, share=URGENT)
    with store.leases.hold(f"cert:{specs[5].id}") as lease, pytest.raises(OverBudget):
        begin(store, lease, specs[5], asked=asked, share=URGENT)


def test_a_worker_whose_lease_was_taken_over_takes_no_tokens(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        store.expire("cert:1")
        with store.leases.hold("cert:1"), pytest.raises(LeaseLost):
            begin(store, lease, spec, asked=price(spec))
    assert taken(store) == {}


@pytest.mark.parametrize("_", range(3))
def test_of_workers_that_race_for_the_last_tokens_as_many_get_one_as_there_are(store: Store, _: int) -> None:
    specs = [store.add(number) for number in range(1, 9)]
    asked = tuple(sorted((*tiny(3, Limit.DOMAIN), *tiny(50, Limit.ORDERS)), key=lambda cost: cost.key))

    def race(spec: CertSpec) -> bool:
        with store.leases.hold(f"cert:{spec.id}") as lease:
            try:
                begin(store, lease, spec, asked=asked, share=URGENT)
            except OverBudget:
                return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(race, specs)) == 3
    assert {limit: held for limit, (held, _) in taken(store).items()} == {
        "certificates_per_domain": 3,
        "orders_per_account": 3,
    }


def test_what_the_ca_says_of_a_bucket_is_believed_where_it_is_worse(store: Store) -> None:
    budgets, now = Budgets(store.database), datetime.now(UTC)
    ((key, rate),) = tiny(5)
    budgets.exhausted(key, rate, now + 10 * HOUR)
    budgets.exhausted(key, rate, now + 2 * HOUR)
    ledger = Ledger(budgets.levels([key]), {key: rate}, now)
    assert ledger.ready(Cost(key, rate), URGENT, now) == now + 10 * HOUR
    assert ledger.left(key, rate, now) == 0


def test_a_wait_for_room_is_shown_with_its_date_and_is_no_failure(store: Store) -> None:
    spec, budgets = store.add(), Budgets(store.database)
    until = datetime.now(UTC) + 5 * HOUR
    wait = Wait(until=until, reason=budget.said(tiny(5)[0].key))
    budgets.wait({spec.id: wait}, RULES)
    shown = store.certs.one(spec.id)
    assert (shown.waits_for, shown.check_at, shown.failing, shown.last_error) == (wait.reason, until, False, None)
    now = datetime.now(UTC)
    assert budgets.waiting(now) == budgets.waiting(now, {wait.reason, "something else"}) == {spec.id: wait}
    assert budgets.waiting(now, {"something else"}) == budgets.waiting(until) == {}
    assert store.candidate_ids() == []
    store.database.write("update knit_schedule set check_at = now()")
    assert store.candidate_ids() == [spec.id]
    assert budgets.waiting(datetime.now(UTC)) == {}
    assert store.certs.one(spec.id).waits_for is None


def test_a_certificate_that_was_changed_waits_no_longer(store: Store) -> None:
    spec, budgets = store.add(), Budgets(store.database)
    wait = Wait(until=datetime.now(UTC) + 5 * HOUR, reason="room")
    store.database.write("update knit_certs set provider = 'desec'")
    budgets.wait({spec.id: wait}, RULES)
    assert store.certs.one(spec.id).waits_for is None
    store.passes.adopt()
    budgets.wait({spec.id: wait}, RULES)
    store.plan(spec)
    assert store.certs.one(spec.id).waits_for is None


def test_buckets_that_have_long_been_full_are_forgotten(store: Store) -> None:
    budgets = Budgets(store.database)
    ((key, rate),) = tiny(5)
    budgets.exhausted(key, rate, datetime.now(UTC) - timedelta(days=40))
    store.passes.tidy()
    assert store.database.rows("select 1 from knit_budget") == []


def test_levels_are_told_of_the_buckets_that_are_asked_for(store: Store) -> None:
    budgets, until = Budgets(store.database), datetime.now(UTC) + HOUR
    for cost in (*tiny(5), *tiny(5, Limit.SET)):
        budgets.exhausted(cost.key, cost.rate, until)
    key = tiny(5)[0].key
    assert set(budgets.levels([key, replace_subject(key)])) == {key}
    assert budgets.levels([]) == {}


def replace_subject(key: BucketKey) -> BucketKey:
    return key._replace(subject="example.net")


def test_unknown_limits_of_a_later_knit_are_left_alone(store: Store) -> None:
    store.database.write(
        "insert into knit_budget (directory, limit_name, subject, full_at) values ('d', 'later', '', 'infinity')"
    )
    assert Budgets(store.database).every() == {}
    assert store.load(CertId(1)).newest is None
