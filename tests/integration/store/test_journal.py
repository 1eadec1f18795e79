"""The journal: every step is kept, and a worker that lost its lease writes nothing more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.model.attempt import Attempt, Step
from knit.core.model.certificate import CertId, CertSpec
from knit.core.model.challenge import Challenge, Record
from knit.core.model.decision import Losses, Reason, Wait
from knit.core.renewal import NOT_DUE
from knit.errors import (
    IdentifierRejected,
    Interrupted,
    LeaseLost,
    Misconfigured,
    OrderLost,
    Outage,
    RateLimited,
    Refused,
    Transient,
)
from knit.ports.leases import Lease
from knit.store.database import Database
from tests.integration.store.conftest import RULES, TERMS, Store

Write = Callable[[Store, Lease, Attempt], object]

RECORD = Record(
    challenge=Challenge(identifier="host1.example.org", value="value", token="token", key_authorization="token.thumb"),
    fqdn="_acme-challenge.host1.example.org",
    zone="example.org",
)
LATER = datetime(2100, 1, 1, tzinfo=UTC)

WRITES: dict[str, Write] = {
    "key staged": lambda s, lease, a: s.attempts.key_staged(lease, a, "ab"),
    "ordered": lambda s, lease, a: s.attempts.journal(lease, a).ordered("https://ca.example/order/1"),
    "presenting": lambda s, lease, a: s.attempts.journal(lease, a).presenting(RECORD),
    "finalizing": lambda s, lease, a: s.attempts.journal(lease, a).finalizing(),
    "hand over": lambda s, lease, a: s.hand_over(lease, a),
    "fail": lambda s, lease, a: s.attempts.fail(lease, a, error=Transient("x"), retry_at=LATER),
    "postpone": lambda s, lease, a: s.attempts.postpone(lease, a, error=Transient("x"), retry_at=LATER),
    "abandon": lambda s, lease, a: s.attempts.abandon(lease, a, why="x"),
    "resume": lambda s, lease, a: s.attempts.resume(lease, a),
}


def test_each_step_is_in_postgres_before_the_next(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        journal = store.attempts.journal(lease, attempt)
        seen = []
        for write in ("key staged", "ordered", "finalizing", "hand over"):
            WRITES[write](store, lease, attempt)
            now = store.load(spec.id).state.attempt
            assert now is not None
            seen.append((now.step, now.spki_sha256, now.order_url))
        assert journal is not None
    order = "https://ca.example/order/1"
    assert seen == [
        (Step.KEY_STAGED, "ab", None),
        (Step.ORDERED, "ab", order),
        (Step.FINALIZING, "ab", order),
        (Step.ISSUED, "ab", order),
    ]


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_whose_lease_was_taken_over_writes_nothing(store: Store, write: str) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as stale:
        attempt = store.begin(stale, spec)
        store.expire("cert:1")
        with store.leases.hold("cert:1") as fresh:
            assert fresh is not None
            store.attempts.resume(fresh, attempt)
            before = store.database.rows("select * from knit_attempts")
            with pytest.raises(LeaseLost):
                WRITES[write](store, _lease(stale), attempt)
            assert store.database.rows("select * from knit_attempts") == before
            assert not store.holding.leftovers(spec.id)
            assert store.load(spec.id).state.failures == 0


@pytest.mark.parametrize("write", sorted(WRITES.keys() - {"resume"}))
def test_an_attempt_that_has_ended_takes_no_more_writes(store: Store, write: str) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        store.certs.remove(spec.id)
        with pytest.raises(LeaseLost):
            WRITES[write](store, _lease(lease), attempt)


def test_a_second_attempt_cannot_be_opened_beside_an_open_one(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        store.begin(lease, spec)
        with pytest.raises(LeaseLost):
            store.begin(lease, spec)


def test_resuming_counts_one_more_start_and_keeps_what_was_reached(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        WRITES["ordered"](store, _lease(lease), attempt)
    with store.leases.hold("cert:1") as lease:
        again = store.attempts.resume(_lease(lease), attempt)
    assert (again.id, again.starts, again.step) == (attempt.id, 2, Step.ORDERED)
    assert again.order_url == "https://ca.example/order/1"


def test_a_failure_is_counted_shown_and_waited_for(store: Store) -> None:
    spec = store.add()
    error = RateLimited("too many certificates, says the CA")
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        store.attempts.fail(_lease(lease), attempt, error=error, retry_at=LATER)
    state = store.load(spec.id).state
    assert (state.attempt, state.failures, state.retry_at) == (None, 1, LATER)
    assert store.certs.one(spec.id).last_error == str(error)
    assert store.candidate_ids() == []


def test_a_failure_without_a_next_try_waits_for_a_change_and_no_longer(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        store.attempts.fail(_lease(lease), attempt, error=IdentifierRejected("CAA forbids"), retry_at=None)
    assert store.candidate_ids() == []
    store.database.write("update knit_certs set provider = 'desec'")
    store.passes.adopt()
    assert store.candidate_ids() == [spec.id]
    assert store.load(spec.id).state.failures == 0


def test_a_postponed_attempt_stays_open_and_counts_unless_the_process_was_only_stopping(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        store.attempts.postpone(_lease(lease), attempt, error=Interrupted("stopping"), retry_at=datetime.now(UTC))
        stopped = store.load(spec.id).state
        assert (stopped.failures, stopped.retry_at) == (0, None)
        assert store.certs.one(spec.id).last_error is None
        store.attempts.postpone(_lease(lease), attempt, error=Transient("no answer"), retry_at=LATER)
    state = store.load(spec.id).state
    assert state.attempt is not None
    assert (state.attempt.starts, state.failures, state.retry_at) == (0, 1, LATER)
    assert store.certs.one(spec.id).last_error == "no answer"


def test_why_nothing_was_begun_is_known_by_its_class_while_it_is_shown(store: Store) -> None:
    spec, soon = store.add(), datetime.now(UTC) + timedelta(minutes=1)
    store.attempts.refuse(spec.id, error=Misconfigured("issuer 'x' is not configured here"), retry_at=soon)
    assert store.certs.listing()[0].refusal_class == "Misconfigured"
    with store.leases.hold(f"cert:{spec.id}") as lease:
        assert lease is not None
        store.attempts.put_off(lease, spec, TERMS, why=RateLimited("too often"), retry_at=soon)
    assert store.certs.listing()[0].refusal_class == "RateLimited"
    store.passes.complain([spec.id], Refused("another error"))
    assert store.certs.listing()[0].refusal_class is None


@pytest.mark.parametrize("other", [{}, {"serial": "ff"}, {"directory": "https://other"}, {"state": "refused"}])
def test_what_is_published_is_shown_as_revoked_once_it_is(store: Store, other: dict[str, str]) -> None:
    spec = store.add()
    issued = store.publish(spec)
    assert not store.certs.listing()[0].revoked
    row = {"cert_id": spec.id, "directory": issued.directory, "serial": issued.serial, "state": "revoked", **other}
    store.database.write(
        "insert into knit_revocations "
        "(cert_id, names_key, serial, issuer, directory, valkey_key, not_after, reason, replace, state) values "
        "(%(cert_id)s, 'n', %(serial)s, 'acme', %(directory)s, 'k', now(), 'superseded', false, %(state)s)",
        row,
    )
    assert store.certs.listing()[0].revoked is not bool(other)


def test_only_errors_of_ours_are_quoted(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        store.attempts.fail(_lease(lease), attempt, error=ValueError("canary"), retry_at=LATER)
    assert "canary" not in str(store.database.rows("select * from knit_attempts, knit_certs"))


def test_whatever_an_error_says_is_kept_as_one_line_that_acts_on_nothing(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        error = IdentifierRejected("no\n\x1b[31m\u202e\ud800" + "x" * 100_000)
        store.attempts.fail(_lease(lease), attempt, error=error, retry_at=LATER)
    found = [row["error"] for row in store.database.rows("select error from knit_attempts")]
    found += [row["last_error"] for row in store.database.rows("select last_error from knit_certs")]
    assert all(text.startswith("no [31m x") and text.isprintable() and len(text) <= 2000 for text in found)


def lose(store: Store, spec: CertSpec) -> None:
    with store.leases.hold(f"cert:{spec.id}") as lease:
        store.attempts.lose(_lease(lease), store.begin(lease, spec), error=OrderLost("its key is gone"))


def test_lost_orders_are_counted_for_a_week_and_a_certificate_and_for_an_hour_and_all(store: Store) -> None:
    spec, other = store.add(1), store.add(2)
    for one in (spec, other):
        lose(store, one)
    with store.leases.hold("cert:1") as lease:
        store.attempts.abandon(_lease(lease), store.begin(lease, spec), why="what is wanted has changed")
    assert store.attempts.losses(spec.id, most=2) == Losses(until=None, begun=2, enabled=2)
    lose(store, spec)
    losses = store.attempts.losses(spec.id, most=2)
    assert losses.begun == 3
    assert losses.until is not None
    assert timedelta(days=6.9) < losses.until - datetime.now(UTC) < timedelta(days=7)
    store.database.write("update knit_attempts set ended_at = now() - interval '8 days'")
    assert store.attempts.losses(spec.id, most=2) == Losses(until=None, begun=0, enabled=2)


def test_a_challenge_record_is_a_leftover_from_before_it_is_set_until_it_is_removed(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        journal = store.attempts.journal(_lease(lease), store.begin(lease, spec))
        first = journal.presenting(RECORD)
        assert journal.presenting(RECORD) == first
        assert [leftover.state for leftover in store.holding.leftovers(spec.id)] == [None]
        journal.presented(first, {"rrset": "7"})
        (leftover,) = store.holding.leftovers(spec.id)
        assert (leftover.record, leftover.state, leftover.provider) == (RECORD, {"rrset": "7"}, "exec")
        journal.removed(first)
        journal.close()
        assert not store.holding.leftovers(spec.id)


def test_what_is_gone_from_the_dns_is_noted_with_the_next_step(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        journal = store.attempts.journal(_lease(lease), store.begin(lease, spec))
        journal.removed(journal.presenting(RECORD))
        assert store.holding.leftovers(spec.id)
        journal.finalizing()
        assert not store.holding.leftovers(spec.id)


def test_a_bundle_handed_over_gives_its_lease_back_for_good(store: Store) -> None:
    spec = store.add()
    with store.holding.hold(spec.id) as held:
        assert held is not None
        lease, known = held
        assert known.spec == spec
        store.hand_over(lease, store.begin(lease, spec))
        # A refresh that was on its way when the lease went back.
        store.leases._held[lease.name, lease.epoch] = lease  # type: ignore[assignment]
        store.leases._refresh()
        with store.holding.hold(spec.id) as next_one:
            assert next_one is not None
            assert next_one[0].epoch == lease.epoch + 1
            state = next_one[1].state
            assert state.attempt is not None
            assert (state.attempt.step, state.attempt.starts) == (Step.ISSUED, 0)
    with store.holding.hold(spec.id) as free:
        assert free is not None


def test_nothing_is_begun_on_knowledge_that_another_attempt_has_made_old(store: Store) -> None:
    spec = store.add()
    with store.holding.hold(spec.id) as held:
        assert held is not None
        lease, old = held
    store.publish(spec)
    with store.holding.hold(spec.id) as held:
        assert held is not None
        lease, fresh = held
        with pytest.raises(LeaseLost):
            store.attempts.begin(lease, spec, Reason.WINDOW, TERMS.asked(spec), "ab", newest=old.newest)
        begun = store.attempts.begin(lease, spec, Reason.WINDOW, TERMS.asked(spec), "ab", newest=fresh.newest)
        assert fresh.newest is not None
        assert begun.id > fresh.newest


def test_leftovers_of_a_removed_certificate_are_still_known(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        store.attempts.journal(_lease(lease), store.begin(lease, spec)).presenting(RECORD)
        store.certs.remove(spec.id)
        assert store.passes.orphaned_leftovers() == ()
    assert store.passes.orphaned_leftovers() == (spec.id,)
    assert [leftover.record for leftover in store.holding.leftovers(spec.id)] == [RECORD]


def test_the_state_of_an_unknown_certificate_is_empty(store: Store) -> None:
    state = store.load(CertId(77)).state
    assert (state.issued, state.attempt, state.failures) == (None, None, 0)
    assert store.load(CertId(77)).spec is None


def test_a_check_planned_for_later_clears_an_error_that_is_over_but_not_that_of_a_failure(store: Store) -> None:
    fine, failed = store.add(1), store.add(2)
    store.database.write("update knit_certs set last_error = 'Valkey was away'")
    with store.leases.hold("cert:2") as lease:
        attempt = store.begin(lease, failed, Reason.WINDOW)
        store.attempts.fail(_lease(lease), attempt, error=Transient("no answer"), retry_at=LATER)
    for spec in (fine, failed):
        store.holding.looked(spec.id, RULES, Wait(until=datetime.now(UTC) + timedelta(days=1), reason=NOT_DUE))
    assert [row.last_error for row in store.certs.listing()] == [None, "no answer"]


def _lease(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def test_where_postgres_does_not_say_so_proofs_may_be_shared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        journal = store.attempts.journal(lease, store.begin(lease, spec))
        assert not journal.shares_proofs()
        monkeypatch.setattr(Database, "row", away)
        assert journal.shares_proofs()


def away(*_: object) -> None:
    raise Outage("PostgreSQL")
