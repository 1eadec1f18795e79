"""Whatever happens is recorded by the statement that makes it true, whoever sends it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from knit.core.events import Event, Kind, Severity
from knit.core.model.account import Account
from knit.errors import (
    AccountLimited,
    BundleMismatch,
    IdentifierRejected,
    LeaseLost,
    Misconfigured,
    RateLimited,
    Transient,
)
from knit.flows.proving import FORGIVEN
from knit.ports.journal import Forgiven
from knit.store.accounts.accounts import Accounts
from knit.store.accounts.issuers import IssuerMemory
from knit.store.accounts.sealing import Seal
from knit.store.database import Database
from knit.store.events.events import EventLog
from knit.store.leases.centre import Centre
from tests.integration.store.conftest import DIRECTORY, TERMS, Store

ONCE = Forgiven(1, timedelta(hours=1))
LATER = datetime(2100, 1, 1, tzinfo=UTC)
BY_THE_ORIGINAL = (
    "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
    "values ('by-hand.example.org', 'desec', 'certs/9', '/9.crt', '/9.key')"
)


def told(store: Store) -> list[Event]:
    return list(EventLog(store.database).since(0))


def kinds(store: Store) -> list[str]:
    return [event.kind for event in told(store)]


def test_a_renewal_leaves_one_event_for_each_step(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    assert kinds(store) == [
        Kind.CERTIFICATE_ADDED,
        Kind.RENEWAL_STARTED,
        Kind.CERTIFICATE_ISSUED,
        Kind.CERTIFICATE_PUBLISHING,
        Kind.CERTIFICATE_PUBLISHED,
    ]
    issued = told(store)[2]
    assert (issued.cert_id, issued.detail["serial"]) == (spec.id, "01")
    assert issued.attempt_id is not None


def test_a_failure_is_an_error_with_its_class_text_and_next_try(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        assert RateLimited.__subclasses__() == [AccountLimited]
        limits: list[type[RateLimited]] = [RateLimited, AccountLimited]
        for limited in limits:
            store.attempts.postpone(lease, attempt, error=limited("too many"), retry_at=LATER + timedelta(days=1))
            last = told(store)[-1]
            assert (last.kind, last.detail["class"]) == (Kind.RENEWAL_POSTPONED, limited.__name__)
            store.attempts.postpone(lease, attempt, error=Transient("no answer"), retry_at=LATER)
        store.attempts.fail(lease, attempt, error=RateLimited("too many"), retry_at=LATER)
    *_, postponed, kept, failed = told(store)
    assert (kept.kind, kept.severity) == (Kind.RENEWAL_FAILED, Severity.ERROR)
    assert (postponed.kind, postponed.severity) == (Kind.RENEWAL_POSTPONED, Severity.WARNING)
    assert (failed.kind, failed.severity) == (Kind.RENEWAL_FAILED, Severity.ERROR)
    assert {name: failed.detail[name] for name in ("class", "error")} == {"class": "RateLimited", "error": "too many"}
    assert str(failed.detail["next_try"]).startswith("2100-01-01")


def test_what_cannot_even_be_begun_is_a_failure_without_an_attempt(store: Store) -> None:
    spec = store.add()
    store.attempts.refuse(spec.id, error=Misconfigured("issuer 'x' is not configured here"), retry_at=LATER)
    store.attempts.refuse(spec.id, error=Misconfigured("issuer 'y' is not configured here"), retry_at=LATER)
    _, first, second = told(store)
    assert (first.kind, first.severity, first.cert_id, first.attempt_id) == (
        Kind.RENEWAL_FAILED,
        Severity.ERROR,
        spec.id,
        None,
    )
    assert (first.detail["error"], second.detail["error"]) == tuple(
        f"issuer {name!r} is not configured here" for name in "xy"
    )
    assert str(first.detail["next_try"]).startswith("2100-01-01")


def test_a_failure_of_an_attempt_is_told_once(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        store.attempts.postpone(lease, attempt, error=Transient("no answer"), retry_at=LATER)
        store.attempts.put_off(lease, spec, TERMS, why=RateLimited("too many"), retry_at=LATER)
        store.attempts.fail(lease, attempt, error=Misconfigured("no token"), retry_at=LATER)
    assert kinds(store) == [
        Kind.CERTIFICATE_ADDED,
        Kind.RENEWAL_STARTED,
        Kind.RENEWAL_FAILED,
        Kind.RENEWAL_FAILED,
    ]


def test_proofs_are_told_when_the_ca_is_asked_to_check_them(store: Store) -> None:
    spec, names, centre = store.add(), ["host1.example.org"], Centre(store.database)
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        journal = store.attempts.journal(lease, attempt)
        assert not centre.under_way()[0].validating
        journal.validating(names, FORGIVEN)
        assert centre.under_way()[0].validating
        journal.finalizing()
        assert not centre.under_way()[0].validating
    asked, finalizing = told(store)[2:]
    assert (asked.kind, asked.cert_id, asked.attempt_id) == (Kind.VALIDATION_REQUESTED, spec.id, attempt.id)
    assert asked.detail == {"names": names, "directory": DIRECTORY}
    assert finalizing.kind == Kind.ORDER_FINALIZING


def test_proofs_that_the_ca_refuses_are_told_before_the_failure_that_they_are(store: Store) -> None:
    spec, names = store.add(), ["host1.example.org"]
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        store.attempts.journal(lease, attempt).validating(names, FORGIVEN)
        store.attempts.fail(lease, attempt, error=IdentifierRejected("the CA says: no TXT record"), retry_at=LATER)
    refused, failed = told(store)[3:]
    assert (refused.kind, refused.severity, refused.attempt_id) == (
        Kind.VALIDATION_FAILED,
        Severity.ERROR,
        attempt.id,
    )
    assert refused.detail == {"names": names, "directory": DIRECTORY, "error": "the CA says: no TXT record"}
    assert failed.kind == Kind.RENEWAL_FAILED


def test_a_proof_that_is_not_asked_for_and_a_run_that_ends_otherwise_are_no_failed_validation(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        journal = store.attempts.journal(lease, attempt)
        journal.validating(["host1.example.org"], ONCE)
        with pytest.raises(RateLimited):
            journal.validating(["host2.example.org", "host1.example.org"], ONCE)
        attempt = store.attempts.resume(lease, attempt)
        store.attempts.fail(lease, attempt, error=IdentifierRejected("the CA says: CAA"), retry_at=LATER)
    assert kinds(store)[2:] == [Kind.VALIDATION_REQUESTED, Kind.RENEWAL_RESUMED, Kind.RENEWAL_FAILED]


def test_a_pause_of_a_ca_is_told_with_its_end_and_when_it_is_over(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        store.attempts.count_refusal(attempt, AccountLimited("too many orders"))
        store.attempts.pause(attempt, LATER)
        store.attempts.pause(attempt, LATER)
        store.database.write("update knit_pauses set until = now()")
        assert store.attempts.admit(spec.id, TERMS) is None
        store.attempts.journal(lease, attempt).ordered("https://ca.example/order/1")
    begun, longer, ordered, over = told(store)[2:]
    assert [event.kind for event in (begun, longer)] == [Kind.CA_PAUSED] * 2
    assert (longer.severity, longer.detail["said"], longer.detail["directory"]) == (
        Severity.WARNING,
        "too many orders",
        DIRECTORY,
    )
    assert str(longer.detail["until"]).startswith("2100-01-01")
    assert (over.kind, over.cert_id, over.detail) == (
        Kind.CA_PAUSE_OVER,
        spec.id,
        {"issuer": "acme", "directory": DIRECTORY},
    )
    assert ordered.kind == Kind.ORDER_PLACED


def test_what_goes_back_to_its_order_says_why(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        store.hand_over(lease, attempt)
    store.passes.send_back(attempt, error=BundleMismatch("what waited in staging is gone"), retry_at=LATER)
    last = told(store)[-1]
    assert kinds(store).count(Kind.ORDER_FINALIZING) == 1
    assert (last.kind, last.severity, last.detail["error"]) == (
        Kind.ORDER_FINALIZING,
        Severity.ERROR,
        "what waited in staging is gone",
    )


def test_what_a_worker_without_its_lease_could_not_write_did_not_happen(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as stale:
        attempt = store.begin(stale, spec)
        store.expire("cert:1")
        with store.leases.hold("cert:1") as fresh:
            assert fresh is not None
            store.attempts.resume(fresh, attempt)
            before = kinds(store)
            assert stale is not None
            with pytest.raises(LeaseLost):
                store.attempts.fail(stale, attempt, error=Transient("x"), retry_at=LATER)
    assert kinds(store) == before
    assert before[-1] == Kind.RENEWAL_RESUMED


def test_edits_of_the_list_by_anybody_are_told_with_what_changed(store: Store, migrated: str) -> None:
    with psycopg.connect(migrated, autocommit=True, application_name="psql") as other:
        other.execute(BY_THE_ORIGINAL)
        store.passes.adopt()
        other.execute("update knit_certs set provider = 'ovh', cert_path = '/new.crt'")
        other.execute("update knit_certs set enabled = false")
        other.execute("update knit_certs set enabled = true")
        other.execute("update knit_certs set requested_at = now()")
        other.execute("update knit_certs set not_after = now(), last_error = 'x'")
        other.execute("delete from knit_certs")
    added, changed, disabled, enabled, asked, removed = told(store)
    assert added.kind == Kind.CERTIFICATE_ADDED
    assert added.detail["domains"] == "by-hand.example.org"
    assert (changed.kind, changed.detail) == (
        Kind.CERTIFICATE_CHANGED,
        {"provider": ["desec", "ovh"], "cert_path": ["/9.crt", "/new.crt"]},
    )
    assert [event.kind for event in (disabled, enabled, asked, removed)] == [
        Kind.CERTIFICATE_DISABLED,
        Kind.CERTIFICATE_ENABLED,
        Kind.RENEWAL_REQUESTED,
        Kind.CERTIFICATE_REMOVED,
    ]
    assert {event.actor.partition(" ")[2] for event in told(store)} == {"(psql)"}


@pytest.mark.parametrize(
    ("more", "who"), [("", "knit ada@admin"), ("?application_name=provisioning", "provisioning")], ids=["ours", "dsn"]
)
def test_an_event_says_which_process_did_it_unless_the_dsn_names_another(
    store: Store, migrated: str, more: str, who: str
) -> None:
    with Database.open(f"{migrated}{more}", name="knit ada@admin") as database:
        database.write(BY_THE_ORIGINAL)
    (event,) = told(store)
    assert event.actor.endswith(f"({who})")


def test_one_who_may_only_write_the_list_leaves_events_all_the_same(store: Store, migrated: str) -> None:
    with psycopg.connect(migrated, autocommit=True) as owner:
        owner.execute("drop role if exists knit_editor")
        owner.execute("create role knit_editor")
        owner.execute("grant insert, update, delete, select on knit_certs to knit_editor")
        owner.execute("grant usage on sequence knit_certs_id_seq to knit_editor")
        owner.execute("set role knit_editor")
        owner.execute(BY_THE_ORIGINAL)
        owner.execute("delete from knit_certs")
        owner.execute("reset role")
        owner.execute("drop owned by knit_editor")
        owner.execute("drop role knit_editor")
    assert kinds(store) == [Kind.CERTIFICATE_ADDED, Kind.CERTIFICATE_REMOVED]


def test_issuers_and_accounts_are_told_without_their_keys(store: Store) -> None:
    memory, accounts = IssuerMemory(store.database), Accounts(store.database, Seal())
    memory.remember(TERMS)
    memory.remember(TERMS)
    memory.accept(replace(TERMS, directory="https://other.example/directory"))
    account = Account(directory=DIRECTORY, issuer="acme", email="a@example.org", private_key="PEM-CANARY")
    accounts.save(account)
    accounts.save(replace(account, uri="https://ca.example/acct/1"))
    found = accounts.kept(DIRECTORY, "acme")
    assert found is not None
    accounts.forget(found, None)
    assert kinds(store) == [
        Kind.ISSUER_FIRST_USED,
        Kind.ISSUER_SWITCHED,
        Kind.ACCOUNT_KEY_MADE,
        Kind.ACCOUNT_REGISTERED,
        Kind.ACCOUNT_FORGOTTEN,
    ]
    assert "CANARY" not in json.dumps([dict(event.detail) for event in told(store)])


def test_a_value_that_moves_is_told_and_one_that_a_renewal_replaces_is_not_told_twice(store: Store) -> None:
    spec = store.add()
    issued = store.publish(spec)
    store.publish(spec, generation=2)
    before = len(told(store))
    store.database.write("update knit_issued set cert_path = '/moved.crt'")
    store.database.write("update knit_issued set published_at = null")
    moved, withdrawn = told(store)[before:]
    assert (moved.kind, moved.detail) == (Kind.VALUE_MOVED, {"cert_path": [issued.cert_path, "/moved.crt"]})
    assert (withdrawn.kind, withdrawn.severity) == (Kind.VALUE_WITHDRAWN, Severity.NOTICE)


def test_a_reader_goes_on_where_it_was_and_may_follow_one_certificate(store: Store) -> None:
    events = EventLog(store.database)
    assert events.newest() == 0
    store.add(1)
    seen = events.newest()
    second = store.add(2)
    assert [event.cert_id for event in events.since(seen)] == [second.id]
    assert [event.cert_id for event in events.since(0, cert_id=second.id)] == [second.id]
    assert len(events.since(0, most=1)) == 1


def test_events_older_than_four_hundred_days_go(store: Store) -> None:
    store.add()
    store.database.write("update knit_events set at = now() - interval '401 days'")
    store.add(2)
    store.passes.tidy()
    assert len(told(store)) == 1


def test_what_a_newer_knit_has_recorded_is_told_by_its_own_word(store: Store) -> None:
    spec = store.add()
    newer = (
        "insert into knit_events (kind, severity, cert_id, actor) values ('certificate renamed', 'info', %(id)s, 'x')"
    )
    store.database.write(newer, {"id": spec.id})
    assert told(store)[-1].kind == "certificate renamed"
