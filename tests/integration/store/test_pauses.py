"""What a CA's limits leave in PostgreSQL: pauses of an account, and proofs of a name that may have failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.model.attempt import Attempt
from knit.core.model.certificate import CertId
from knit.core.model.issuer import Terms
from knit.errors import AccountLimited, RateLimited
from knit.flows.ca_pauses import CaPauses
from knit.flows.proving import FORGIVEN
from knit.flows.room import Room
from knit.ports.journal import Forgiven, OpenJournal
from knit.store.budget.budgets import Budgets
from knit.store.journal.holding import load
from tests.integration.store.conftest import DIRECTORY, TERMS, Store

SAID = AccountLimited("too many new orders", retry_at=None, names_only=False)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def attempts(store: Store) -> Iterator[list[Attempt]]:
    """Three certificates under way at one CA."""
    with ExitStack() as held:
        leases = [held.enter_context(store.leases.hold(f"cert:{number}")) for number in (1, 2, 3)]
        yield [store.begin(lease, store.add(number)) for number, lease in enumerate(leases, start=1)]


def pause_is_over(store: Store) -> None:
    store.database.write("update knit_pauses set until = now() - interval '1 second'")


def waits(store: Store, attempt: Attempt, terms: Terms = TERMS) -> timedelta | None:
    pause = store.attempts.admit(attempt.cert_id, terms)
    return None if pause is None else pause.until - datetime.now(UTC)


def about(found: timedelta | None, wanted: timedelta) -> bool:
    return found is not None and abs(found - wanted) < timedelta(seconds=10)


def test_many_that_are_told_so_at_once_are_one_refusal(store: Store, attempts: list[Attempt]) -> None:
    assert [waits(store, each) for each in attempts] == [None] * 3
    assert [store.attempts.count_refusal(each, SAID) for each in attempts] == [1, 1, 1]
    pause = store.attempts.admit(attempts[0].cert_id, TERMS)
    assert pause is not None
    assert pause.said == "too many new orders"


def test_whoever_holds_a_certificate_knows_whether_any_ca_is_left_alone(store: Store, attempts: list[Attempt]) -> None:
    assert not load(store.database, attempts[0].cert_id).pauses
    store.attempts.count_refusal(attempts[1], SAID)
    assert load(store.database, attempts[0].cert_id).pauses


def test_the_longest_of_the_waits_that_were_asked_for_counts(store: Store, attempts: list[Attempt]) -> None:
    for attempt, minutes in zip(attempts, (10, 120, 5), strict=True):
        store.attempts.count_refusal(attempt, SAID)
        store.attempts.pause(attempt, datetime.now(UTC) + minutes * MINUTE)
    assert about(waits(store, attempts[0]), 120 * MINUTE)


def test_another_ca_or_issuer_has_pauses_of_its_own(store: Store, attempts: list[Attempt]) -> None:
    store.attempts.count_refusal(attempts[0], SAID)
    for terms in (Terms(name="acme", directory="https://other.example/dir"), Terms(name="other", directory=DIRECTORY)):
        assert waits(store, attempts[1], terms) is None


def test_once_a_pause_is_over_one_tries_for_a_minute_and_the_others_wait_for_its_answer(
    store: Store, attempts: list[Attempt]
) -> None:
    first, second, third = attempts
    store.attempts.count_refusal(first, SAID)
    pause_is_over(store)
    assert waits(store, second) is None
    assert [about(waits(store, each), MINUTE) for each in (first, third)] == [True, True]
    # It has died, perhaps.
    pause_is_over(store)
    assert waits(store, third) is None
    assert about(waits(store, second), MINUTE)


def test_whoever_comes_just_before_the_end_waits_a_minute_so_that_one_can_try(
    store: Store, attempts: list[Attempt]
) -> None:
    store.attempts.count_refusal(attempts[0], SAID)
    store.database.write("update knit_pauses set until = now() + interval '3 seconds'")
    assert about(waits(store, attempts[1]), MINUTE)


def test_refusals_in_a_row_are_those_of_whoever_tried_whether_the_pause_was_over(
    store: Store, attempts: list[Attempt]
) -> None:
    first, second, third = attempts
    assert store.attempts.count_refusal(first, SAID) == 1
    pause_is_over(store)
    assert waits(store, second) is None
    assert store.attempts.count_refusal(second, SAID) == 2
    assert [store.attempts.count_refusal(each, SAID) for each in (second, third)] == [2, 2], "nobody tries now"
    pause_is_over(store)
    assert store.attempts.count_refusal(third, SAID) == 3, "it came when the pause was over"


def test_only_the_order_of_whoever_tried_ends_the_pause(store: Store, attempts: list[Attempt]) -> None:
    first, second, third = attempts
    store.attempts.count_refusal(first, SAID)
    pause_is_over(store)
    assert waits(store, second) is None
    for attempt, ends in ((third, False), (second, True)):
        journal_of(store, attempt).ordered("https://ca.example/order/1")
        assert (waits(store, first) is None) is ends


def room(store: Store) -> Room:
    return Room(store=Budgets(store.database), clock=lambda: datetime.now(UTC))


def journal_of(store: Store, attempt: Attempt) -> OpenJournal:
    held = {lease.name: lease for lease in store.leases._held.values()}
    return store.attempts.journal(held[f"cert:{attempt.cert_id}"], attempt)


def tries(store: Store, name: str) -> int:
    row = store.database.row("select cardinality(tried) as n from knit_validations where name = %(n)s", {"n": name})
    return 0 if row is None else int(row["n"])


def test_proofs_of_one_name_are_counted_for_an_hour_whoever_asks_for_them(
    store: Store, attempts: list[Attempt]
) -> None:
    first, second, _ = (journal_of(store, attempt) for attempt in attempts)
    for journal in (first, second, first, second):
        journal.validating(["a.example", "b.example"], FORGIVEN)
    store.database.write(
        "update knit_validations set tried[1] = now() - interval '50 minutes' where name = 'a.example'"
    )
    with pytest.raises(RateLimited, match=r"a\.example") as limited:
        first.validating(["a.example"], FORGIVEN)
    assert limited.value.retry_at is not None
    assert about(limited.value.retry_at - datetime.now(UTC), 10 * MINUTE)
    store.database.write(
        "update knit_validations set tried[1] = now() - interval '61 minutes' where name = 'a.example'"
    )
    second.validating(["a.example"], FORGIVEN)
    assert tries(store, "a.example") == 4, "what is older is forgotten"


def test_two_values_at_one_name_are_two_proofs_of_it(store: Store, attempts: list[Attempt]) -> None:
    journal = journal_of(store, attempts[0])
    journal.validating(["a.example", "a.example"], FORGIVEN)
    assert tries(store, "a.example") == 2
    journal.validating(["a.example", "a.example"], FORGIVEN)
    with pytest.raises(RateLimited):
        journal.validating(["a.example"], FORGIVEN)


def test_what_was_proved_is_not_counted_and_what_another_asked_for_is(store: Store, attempts: list[Attempt]) -> None:
    first, second, _ = (journal_of(store, attempt) for attempt in attempts)
    second.validating(["a.example"], FORGIVEN)
    first.validating(["a.example", "b.example"], FORGIVEN)
    first.finalizing()
    assert (tries(store, "a.example"), tries(store, "b.example")) == (1, 0)


def test_an_apex_and_its_wildcard_proved_one_after_the_other_are_both_not_counted(
    store: Store, attempts: list[Attempt]
) -> None:
    journal = journal_of(store, attempts[0])
    journal.validating(["a.example"], FORGIVEN)
    journal.validating(["a.example"], FORGIVEN)
    journal.finalizing()
    assert tries(store, "a.example") == 0


def test_a_ca_may_forgive_more_or_less_and_for_another_time(store: Store, attempts: list[Attempt]) -> None:
    journal, forgiven = journal_of(store, attempts[0]), Forgiven(2, timedelta(hours=5))
    for _ in range(2):
        journal.validating(["a.example"], forgiven)
    store.database.write("update knit_validations set tried[1] = now() - interval '4 hours' where name = 'a.example'")
    with pytest.raises(RateLimited, match=r"within 5\.0 hours") as limited:
        journal.validating(["a.example"], forgiven)
    assert limited.value.retry_at is not None
    assert about(limited.value.retry_at - datetime.now(UTC), 60 * MINUTE)


def test_those_that_are_put_off_come_back_one_after_the_other(store: Store, attempts: list[Attempt]) -> None:
    limits = CaPauses(store=store.attempts, room=room(store), clock=lambda: datetime.now(UTC), tell=lambda _: None)
    store.attempts.count_refusal(attempts[0], SAID)
    store.attempts.pause(attempts[0], datetime.now(UTC) + 120 * MINUTE)
    held = {lease.name: lease for lease in store.leases._held.values()}
    at = []
    for attempt in attempts:
        found = limits.pause(store.spec(attempt.cert_id), TERMS, held[f"cert:{attempt.cert_id}"])
        assert found is not None
        assert found.retry_at is not None
        at.append(found.retry_at)
    assert len(set(at)) == 3
    assert max(at) - min(at) < MINUTE / 2
    assert {CertId(n): retry_at for n, retry_at in enumerate(at, start=1)} == {
        row["cert_id"]: row["retry_at"] for row in store.database.rows("select cert_id, retry_at from knit_schedule")
    }
