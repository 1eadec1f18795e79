"""What a pass asks of Postgres, and what publishing writes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from knit.core.model.attempt import Step
from knit.core.model.certificate import CertId
from knit.core.model.decision import Candidate, Policy
from knit.core.model.issuer import Terms
from knit.errors import Transient
from knit.store.accounts.issuers import IssuerMemory
from tests.integration.store.conftest import LEAF, RULES, SHA256, TERMS, Store, issued_for, new_cert


def test_a_new_certificate_is_a_candidate_until_its_next_check_is_planned(store: Store) -> None:
    spec = store.add()
    assert store.candidate_ids() == [spec.id]
    store.publish(spec)
    store.plan(spec)
    assert store.candidate_ids() == []


def test_a_planned_check_holds_only_for_the_policy_it_was_planned_under(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    store.plan(spec)
    another = replace(TERMS, directory="https://another.example/dir")
    assert store.candidate_ids(rules=replace(RULES, issuers=(another,))) == [spec.id]
    assert store.candidate_ids(rules=replace(RULES, policy=Policy(threshold=timedelta(days=7)))) == [spec.id]


def test_a_lost_value_makes_a_candidate_that_knows_it_is_not_published(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    store.plan(spec)
    (candidate,) = store.passes.candidates(RULES, ["certs/1"])
    assert isinstance(candidate, Candidate)
    assert not candidate.state.published
    assert candidate.state.issued is not None


def test_a_certificate_somebody_works_on_is_no_candidate(store: Store) -> None:
    spec = store.add()
    with store.leases.hold(f"cert:{spec.id}"):
        assert store.candidate_ids() == []
    assert store.candidate_ids() == [spec.id]


def test_a_disabled_certificate_is_no_candidate(store: Store) -> None:
    spec = store.add()
    store.certs.switch(spec.id, enabled=False)
    store.passes.adopt()
    assert store.candidate_ids() == []


def test_an_open_attempt_that_no_worker_holds_makes_a_candidate_when_its_time_has_come(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.plan(spec)
    (candidate,) = store.passes.candidates(RULES, [])
    assert isinstance(candidate, Candidate)
    assert candidate.state.attempt == attempt
    store.database.write("update knit_attempts set retry_at = now() + interval '1 hour'")
    assert store.candidate_ids() == []


def test_publishing_ends_the_attempt_and_clears_what_went_wrong_before(store: Store) -> None:
    spec = store.add()
    store.database.write("update knit_schedule set failures = 3, retry_at = now() - interval '1 s'")
    store.database.write("update knit_certs set last_error = 'x'")
    issued = store.publish(spec)
    state, row = store.load(spec.id).state, store.certs.one(spec.id)
    assert (state.issued, state.attempt, state.failures, state.retry_at) == (issued, None, 0, None)
    assert (row.last_error, row.not_after) == (None, issued.not_after)
    assert row.last_renewed is not None
    assert store.passes.ready(begun=True) == ()
    assert store.load(spec.id).state.issued == issued


def test_recording_a_publication_twice_or_late_changes_nothing(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.hand_over(lease, attempt)
    assert [ready.attempt.step for ready in store.passes.ready(begun=False)] == [Step.ISSUED]
    fifth, sixth = (store.parcel(spec, attempt, generation=generation) for generation in (5, 6))
    store.passes.publishing([fifth])
    store.passes.record_published([fifth])
    store.passes.record_published([sixth])
    recorded = store.load(spec.id).state.issued
    assert recorded is not None
    assert recorded.generation == 5
    assert store.passes.publishing([sixth]) == []


def test_a_bundle_that_waits_is_known_by_what_was_found_in_it(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        store.hand_over(lease, store.begin(lease, spec))
    (ready,) = store.passes.ready(begun=False)
    assert (ready.leaf, ready.sha256, ready.generation) == (LEAF, SHA256, None)


def test_of_two_who_publish_one_bundle_the_second_finds_it_taken(store: Store) -> None:
    parcels = []
    for number in (1, 2):
        spec = store.add(number)
        with store.leases.hold(f"cert:{spec.id}") as lease:
            attempt = store.begin(lease, spec)
            store.hand_over(lease, attempt)
        parcels.append([store.parcel(spec, attempt, generation=generation) for generation in (7, 8)])
    (first, first_by_another), (_, second_by_another) = parcels
    assert store.passes.publishing([first]) == [first]
    assert store.passes.publishing([first_by_another, second_by_another]) == [second_by_another]
    assert store.passes.publishing([first]) == [first], "asked again because the answer was lost"
    again = first.over("7", generation=9)
    assert store.passes.publishing([again]) == [again]


def test_what_a_worker_began_to_publish_waits_again_once_it_has_had_its_time(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        store.hand_over(lease, attempt)
    store.passes.publishing([store.parcel(spec, attempt, generation=3)])
    assert store.passes.ready(begun=False) == ()
    assert [ready.generation for ready in store.passes.ready(begun=True)] == [3]
    store.database.write("update knit_attempts set updated_at = now() - interval '20 seconds'")
    assert [ready.attempt.step for ready in store.passes.ready(begun=False)] == [Step.PUBLISHING]


def test_many_are_recorded_together(store: Store) -> None:
    parcels = []
    for number in range(1, 4):
        spec = store.add(number)
        with store.leases.hold(f"cert:{spec.id}") as lease:
            attempt = store.begin(lease, spec)
            store.hand_over(lease, attempt)
        parcels.append(store.parcel(spec, attempt, generation=number))
    store.database.write("delete from knit_certs where id = 2")
    store.passes.record_published(parcels)
    recorded = [store.load(parcel.issued.cert_id).state.issued for parcel in parcels]
    assert recorded == [parcels[0].issued, None, parcels[2].issued]
    assert store.passes.removals().keys == {"certs/2"}
    assert store.passes.ready(begun=True) == ()


def test_a_request_made_during_the_attempt_outlives_its_publication(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.hand_over(lease, attempt)
    store.certs.request_renewal(spec.id)
    store.passes.record_published([store.parcel(spec, attempt)])
    assert store.spec(spec.id).requested_at is not None


def test_a_request_made_while_the_certificate_is_still_being_ordered_makes_no_second_order(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.certs.request_renewal(spec.id)
        requested, known = store.spec(spec.id).requested_at, store.load(spec.id).state.issued
        assert requested is not None
        assert known is not None
        assert requested > known.issued_at
        store.hand_over(lease, attempt)
    store.passes.record_published([store.parcel(spec, attempt, generation=2)])
    assert store.spec(spec.id).requested_at is None


def test_what_is_published_stays_wanted_while_nobody_has_looked_at_a_change_of_its_key(store: Store) -> None:
    store.publish(store.add())
    store.list.add(replace(new_cert(1), valkey_key="certs/new"))
    assert store.passes.wanted_keys() == {"certs/1", "certs/new"}


def test_what_is_published_stays_wanted_when_its_row_is_left_out_for_a_clash(store: Store) -> None:
    first, second = store.add(1), store.add(2)
    store.publish(first)
    store.publish(second)
    store.database.write("update knit_certs set valkey_key = 'new', domains = 'HOST1.example.org' where id = 2")
    assert store.passes.adopt() == 1
    assert store.passes.wanted_keys() == {"certs/1", "certs/2", "new"}


def test_a_moved_certificate_is_found_until_the_move_is_recorded_and_its_old_key_is_pruned(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    assert store.passes.moved() == ()
    store.list.add(replace(new_cert(1), valkey_key="certs/new", cert_path="/new.crt"))
    store.passes.adopt()
    ((wanted, issued),) = store.passes.moved()
    assert (wanted.valkey_key, issued.valkey_key) == ("certs/new", "certs/1")
    assert store.passes.wanted_keys() == {"certs/1", "certs/new"}
    assert store.passes.removals().keys == frozenset()
    moved = replace(issued, generation=2, valkey_key="certs/new", cert_path="/new.crt")
    assert store.passes.record_refreshed(moved, issued)
    assert store.passes.moved() == ()
    assert store.passes.wanted_keys() == {"certs/new"}
    assert store.passes.removals().keys == {"certs/1"}
    store.passes.clear_removals(["certs/1"], store.passes.removals().at)
    assert store.passes.removals().keys == frozenset()


def test_a_disabled_certificate_is_pruned_once_and_is_unpublished_afterwards(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    store.certs.switch(spec.id, enabled=False)
    assert store.passes.removals().keys == {"certs/1"}
    assert store.passes.published_keys() == frozenset()
    store.passes.clear_removals(["certs/1"], store.passes.removals().at)
    assert store.passes.removals().keys == frozenset()
    store.certs.switch(spec.id, enabled=True)
    assert not store.load(spec.id).state.published


def test_a_tombstone_of_a_key_that_another_certificate_now_wants_is_ignored(store: Store) -> None:
    spec = store.add(1)
    store.publish(spec)
    store.certs.remove(spec.id)
    store.list.add(replace(new_cert(2), valkey_key="certs/1"))
    assert store.passes.removals().keys == frozenset()


def test_a_bundle_published_for_a_certificate_removed_meanwhile_gets_a_tombstone(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.hand_over(lease, attempt)
    store.database.write("delete from knit_certs")
    store.passes.record_published([store.parcel(spec, attempt)])
    assert store.passes.removals().keys == {"certs/1"}


def test_a_value_found_published_is_recorded_once_and_then_known(store: Store) -> None:
    spec = store.add()
    assert list(store.passes.unrecorded()) == [spec]
    issued = issued_for(spec)
    store.passes.record_adopted(issued, "ab")
    store.passes.record_adopted(replace(issued, serial="02"), "ab")
    assert store.load(spec.id).state.issued == issued
    assert list(store.passes.unrecorded()) == []
    assert store.passes.published_keys() == {"certs/1"}


def test_a_value_adopted_with_other_paths_is_due_for_a_refresh(store: Store) -> None:
    spec = store.add()
    store.passes.record_adopted(replace(issued_for(spec), cert_path="/elsewhere"), "ab")
    assert [wanted.id for wanted, _ in store.passes.moved()] == [spec.id]


def test_a_closed_attempt_is_not_ready_and_a_new_one_can_begin(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.hand_over(lease, attempt)
    store.passes.close(attempt, why="bundle gone")
    assert store.passes.ready(begun=True) == ()
    with store.leases.hold("cert:1") as lease:
        assert store.begin(lease, spec).id != attempt.id


def test_the_deep_check_is_due_once_a_day_and_whenever_it_is_forced(store: Store) -> None:
    due = [store.passes.deep_check_due(force=force) for force in (False, False, True, False)]
    assert due == [True, False, True, False]
    store.database.write("update knit_marks set done_at = now() - interval '25 hours'")
    assert store.passes.deep_check_due(force=False)


def test_the_host_of_the_originals_account_is_known(store: Store) -> None:
    assert store.passes.original_account_host() is None
    registration = '{"body": {"status": "valid"}, "uri": "https://staging.ca.example/acme/acct/1"}'
    store.database.write(
        "insert into knit_acme_account values ('a@example.org', 'PEM', %(r)s)",
        {"r": registration},
    )
    assert store.passes.original_account_host() == "staging.ca.example"


def test_what_ended_long_ago_is_forgotten_but_not_a_record_left_in_the_dns(store: Store) -> None:
    for number, name in enumerate(("old.example", "left.example", "new.example"), 1):
        store.publish(store.add(number, name))
    old = "update knit_attempts set ended_at = now() - interval '91 days' where names[1] <> 'new.example'"
    store.database.write(old)
    store.database.write(
        "insert into knit_challenges"
        " (attempt_id, cert_id, provider, identifier, token, key_authorization, fqdn, zone, value)"
        " select id, cert_id, provider, 'x', 'x', 'x', 'x', 'x', 'x' from knit_attempts where names[1] = 'left.example'"
    )
    store.passes.tidy()
    kept = store.database.rows("select names[1] as name from knit_attempts order by id")
    assert [row["name"] for row in kept] == ["left.example", "new.example"]


def test_a_wait_counts_only_while_the_ca_that_asked_for_it_is_an_issuers(store: Store) -> None:
    for number in (1, 2):
        spec = store.add(number)
        with store.leases.hold(f"cert:{spec.id}") as lease:
            attempt = store.begin(lease, spec)
            assert lease is not None
            store.attempts.fail(lease, attempt, error=Transient("x"), retry_at=datetime(2100, 1, 1, tzinfo=UTC))
    memory = IssuerMemory(store.database)
    memory.remember(TERMS)
    memory.remember(Terms(name="another", directory="https://another.example/dir"))
    assert store.candidate_ids() == []
    memory.accept(replace(TERMS, directory="https://another.example/dir"))
    assert store.candidate_ids() == [1, 2]
    assert {store.load(CertId(number)).state.retry_at for number in (1, 2)} == {None}
