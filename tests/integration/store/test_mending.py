"""Rows of knit's own tables that a hand has changed or deleted: the next pass makes them good."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.model.issuer import Terms
from knit.errors import Misconfigured, Unreachable
from tests.integration.store.conftest import DIRECTORY, RULES, Store

FAR = ["'infinity'", "'9999-01-01'", "now() + interval '1 year'"]


def pass_finds(store: Store) -> list[int]:
    """Whom the next pass looks at."""
    mended = store.passes.mend()
    assert mended.certificates == (1,), mended
    assert not any(store.passes.mend())
    store.passes.adopt()
    return [int(found) for found in store.candidate_ids()]


@pytest.mark.parametrize(
    "hand",
    [
        "delete from knit_schedule",
        "truncate knit_schedule",
        *(f"update knit_schedule set check_at = {far}" for far in FAR),
        *(f"update knit_schedule set check_at = now(), retry_at = {far}" for far in FAR),
        "update knit_schedule set check_at = 'infinity', retry_at = 'infinity', failures = -1",
        "update knit_schedule set failures = 2147483647",
    ],
)
@pytest.mark.parametrize("published", [False, True])
def test_a_certificate_whose_schedule_a_hand_took_or_put_off_is_looked_at_by_the_next_pass(
    store: Store, hand: str, *, published: bool
) -> None:
    spec = store.add()
    if published:
        store.publish(spec)
        store.plan(spec)
        assert store.candidate_ids() == []
    assert not any(store.passes.mend())
    store.database.write(hand)
    assert pass_finds(store) == [1]


def test_what_is_known_of_a_published_certificate_is_taken_from_its_value_again(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    store.plan(spec)
    for hand in ("delete from knit_issued", "update knit_issued set not_after = 'infinity'"):
        store.database.write(hand)
        store.passes.mend()
        store.passes.mend()
        assert [found.id for found in store.passes.unrecorded()] == [1]
        assert store.passes.removals().keys == frozenset()
        store.publish(spec)
        store.plan(spec)


def test_an_attempt_that_a_hand_put_off_for_ever_goes_on(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        store.begin(lease, spec)
    for hand in ("retry_at = 'infinity'", "retry_at = now() + interval '1 year'", "tries = 2147483647"):
        store.database.write(f"update knit_attempts set {hand}")
        assert pass_finds(store) == [1]


def test_a_generation_that_leaves_no_room_above_it_is_taken_back(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    store.database.write("update knit_issued set generation = 9223372036854775807")
    assert store.passes.mend().certificates == (1,)
    store.publish(spec, generation=int(time.time()) + 1000)


@pytest.mark.parametrize(
    "hand",
    [
        "update knit_leases set expires_at = 'infinity', owner = 'x'",
        "update knit_leases set expires_at = now() + interval '1 year', owner = 'x', process = null",
        "update knit_leases set rests_until = 'infinity'",
        "update knit_leases set expires_at = 'infinity', held_at = 'infinity', owner = 'x'",
    ],
)
def test_a_lease_that_a_hand_made_last_for_ever_binds_nobody(store: Store, hand: str) -> None:
    store.add()
    with store.leases.hold("cert:1"):
        pass
    store.database.write(hand)
    assert store.candidate_ids() == [1]
    with store.leases.hold("cert:1") as lease:
        assert lease is not None


def test_a_process_that_is_gone_holds_nothing_however_long_a_hand_made_it_live(store: Store) -> None:
    spec = store.add()
    insert = (
        "insert into knit_leases (name, owner, epoch, expires_at, process, held_at) values "
        "('cert:1', 'x', 3, now() + interval '1 minute', 'process:gone', now() - interval '1 minute'), "
        "('process:gone', 'process:gone', 1, 'infinity', null, null)"
    )
    store.database.write(insert)
    assert store.candidate_ids() == [spec.id]
    with store.leases.hold("cert:1") as lease:
        assert lease is not None


def test_a_lease_in_use_that_a_hand_made_last_for_ever_is_set_right_by_its_holder(store: Store) -> None:
    with store.leases.hold("x") as lease:
        assert lease is not None
        store.database.write("update knit_leases set expires_at = 'infinity'")
        store.leases._refresh()
        lease.check()
        with store.leases.hold("x") as other:
            assert other is None


def test_an_epoch_that_cannot_be_counted_on_from_is_refused(store: Store) -> None:
    store.add()
    with store.leases.hold("cert:1"):
        pass
    with pytest.raises(Misconfigured):
        store.database.write("update knit_leases set epoch = 9223372036854775807")


def test_marks_pauses_and_proofs_from_the_future_hold_nothing_up(store: Store) -> None:
    store.add()
    terms = Terms(name="acme", directory=DIRECTORY)
    assert store.passes.deep_check_due(force=False)
    store.database.write("update knit_marks set done_at = 'infinity'")
    store.database.write(
        "insert into knit_pauses (issuer, directory, until) values ('acme', %(directory)s, 'infinity')",
        {"directory": DIRECTORY},
    )
    store.database.write("insert into knit_validations (directory, name, tried) values ('d', 'n', '{infinity}')")
    store.database.write("insert into knit_workers (name, queues, seen_at) values ('w', 'renew', 'infinity')")
    assert store.passes.mend().others == 4
    assert store.passes.deep_check_due(force=False)
    assert store.attempts.admit(store.spec(store.certs.listing()[0].id).id, terms) is None


def test_waits_that_knit_makes_are_left_alone(store: Store) -> None:
    spec, other = store.add(1), store.add(2)
    soon = datetime.now(UTC) + timedelta(days=7)
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.attempts.fail(lease, attempt, error=Unreachable("down"), retry_at=soon)
    store.attempts.refuse(other.id, error=Misconfigured("no"), retry_at=soon)
    store.passes.plan_checks({spec.id: soon, other.id: soon}, RULES)
    assert not any(store.passes.mend())
    assert store.candidate_ids() == []
