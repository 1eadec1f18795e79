"""Leases: one owner at a time on the database's clock, with an epoch that only grows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from knit.app.locks import LeasedLocks
from knit.core.model.certificate import CertId
from knit.core.model.challenge import Challenge, Record
from knit.errors import Busy, LeaseLost, NoSuchCertificate, Outage
from knit.queue.redis import HEARTBEAT
from knit.store.database import Database
from knit.store.journal.holding import Holding
from knit.store.leases.leases import LIFETIME, REFRESH_EVERY, HeldLease, Leases
from knit.store.queries import Row
from rig.postgres import Postgres
from rig.process import wait_until
from tests.integration.store.conftest import Store
from workers.actors import BUSY

CHALLENGE = Challenge(identifier="host1.example.org", value="v", token="t", key_authorization="k")
RECORD = Record(challenge=CHALLENGE, fqdn="_acme-challenge.host1.example.org", zone="example.org")


def test_a_held_lease_is_given_to_nobody_else_and_is_free_after_release(store: Store) -> None:
    other = Leases(store.database)
    with store.leases.hold("x") as first:
        assert first is not None
        with other.hold("x") as second:
            assert second is None
        with store.leases.hold("x") as same_process:
            assert same_process is None
    with other.hold("x") as third:
        assert third is not None
        assert third.epoch > first.epoch
    other.stop()


def test_a_place_rests_for_all_processes_once_it_is_given_back_and_no_longer(store: Store) -> None:
    other = Leases(store.database)
    first, second = LeasedLocks(store.leases, time.sleep), LeasedLocks(other, time.sleep)
    with first("dns slot x", patience=0.0, rest=2.0):
        given_back = time.monotonic()
    for locks in (second, first):
        with pytest.raises(Busy), locks("dns slot x", patience=0.0):
            pass
    with second("dns slot x", patience=10.0):
        assert time.monotonic() - given_back >= 2.0
    with first("dns slot x", patience=0.0):
        pass
    other.stop()


def test_a_place_is_kept_for_as_long_as_a_call_lasts(store: Store) -> None:
    lasting = Leases(store.database, lifetime=0.6, refresh_every=0.1)
    mine, others = LeasedLocks(lasting, time.sleep), LeasedLocks(store.leases, time.sleep)
    with mine("dns slot x"):
        for _ in range(10):
            time.sleep(0.3)
            with pytest.raises(Busy), others("dns slot x", patience=0.0):
                pass
    lasting.stop()


def test_of_16_threads_racing_for_a_lease_exactly_one_has_it(store: Store) -> None:
    barrier = Barrier(16)

    def race() -> int | None:
        barrier.wait()
        with store.leases.hold("race") as lease:
            barrier.wait()
            return None if lease is None else lease.epoch

    with ThreadPoolExecutor(16) as pool:
        epochs = [future.result() for future in [pool.submit(race) for _ in range(16)]]
    assert len([epoch for epoch in epochs if epoch is not None]) == 1


def test_an_expired_lease_is_taken_over_with_a_higher_epoch(store: Store) -> None:
    other = Leases(store.database)
    with store.leases.hold("x") as first:
        store.expire("x")
        with other.hold("x") as second:
            assert first is not None
            assert second is not None
            assert second.epoch == first.epoch + 1
    other.stop()


def test_tidying_takes_no_lease_away_whose_epochs_an_open_attempt_still_counts_on(store: Store) -> None:
    spec = store.add()
    for _ in range(3):
        with store.leases.hold("cert:1"):
            pass
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
    store.passes.tidy()
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        assert store.attempts.resume(lease, attempt).starts == attempt.starts + 1


def test_an_attempt_left_open_for_a_hundred_days_is_taken_up_again_at_once(store: Store) -> None:
    spec = store.add()
    for _ in range(3):
        with store.leases.hold("cert:1"):
            pass
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
    ago = "now() - interval '100 days'"
    store.database.write(f"update knit_leases set expires_at = {ago} where name = 'cert:1'")
    store.database.write(f"update knit_attempts set started_at = {ago}, updated_at = {ago}")
    store.passes.tidy()
    with store.holding.hold(spec.id) as held:
        assert held is not None
        assert store.attempts.resume(held[0], attempt).starts == attempt.starts + 1


def test_an_attempt_whose_lease_was_not_restored_is_taken_up_again_at_once(store: Store) -> None:
    spec = store.add()
    for _ in range(3):
        with store.holding.hold(spec.id) as held:
            assert held is not None
    with store.holding.hold(spec.id) as held:
        assert held is not None
        attempt = store.begin(held[0], spec)
    store.database.write("truncate knit_leases")
    store.leases.stop()
    again = Leases(store.database)
    with Holding(store.database, again).hold(spec.id) as held:
        assert held is not None
        assert store.attempts.resume(held[0], attempt).starts == attempt.starts + 1
    again.stop()


def test_the_release_of_a_lost_lease_leaves_the_new_owner_alone(store: Store) -> None:
    other = Leases(store.database)
    first = store.leases.hold("x")
    first.__enter__()
    store.expire("x")
    with other.hold("x"):
        first.__exit__(None, None, None)
        with store.leases.hold("x") as third:
            assert third is None
    other.stop()


def test_held_leases_are_kept_alive_past_their_lifetime(store: Store) -> None:
    leases = Leases(store.database, lifetime=2.0, refresh_every=0.1)
    with leases.hold("x") as lease:
        time.sleep(2.5)
        assert lease is not None
        lease.check()
        with store.leases.hold("x") as other:
            assert other is None
    leases.stop()


def is_lost(lease: HeldLease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


def test_the_owner_of_a_lease_that_was_taken_over_is_told_at_the_next_refresh(store: Store) -> None:
    leases = Leases(store.database, refresh_every=0.1)
    with leases.hold("x") as lease:
        store.expire("x")
        with store.leases.hold("x"):
            assert lease is not None
            wait_until(lambda: is_lost(lease), "the owner is told")
    leases.stop()


def test_a_lease_that_could_not_be_refreshed_in_time_is_doubted_by_its_own_owner(store: Store) -> None:
    leases = Leases(store.database, lifetime=0.2, refresh_every=60)
    with leases.hold("x") as lease:
        time.sleep(0.3)
        assert lease is not None
        with pytest.raises(LeaseLost):
            lease.check()
    leases.stop()


def test_an_exception_under_a_lease_passes_through_and_releases_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.leases.hold("x"):
        raise ZeroDivisionError
    with store.leases.hold("x") as again:
        assert again is not None


@pytest.mark.parametrize("count", [1, 30])
def test_all_that_a_dead_process_held_is_free_once_its_own_lease_is_over(store: Store, count: int) -> None:
    dead = Leases(store.database, lifetime=2.0, refresh_every=60)
    holding = [dead.hold(f"cert:{number}") for number in range(count)]
    for each in holding:
        each.__enter__()
    began = time.monotonic()
    with store.leases.hold("cert:0") as lease:
        assert lease is None
    wait_until(lambda: all(is_free(store, f"cert:{number}") for number in range(count)), "all of them free", seconds=9)
    assert time.monotonic() - began < 6, "each by itself lasts for eight seconds"


def is_free(store: Store, name: str) -> bool:
    with store.leases.hold(name) as lease:
        return lease is not None


def test_a_dead_worker_is_found_out_and_its_message_looked_at_again_within_45_seconds() -> None:
    found_out, looked_again = LIFETIME, BUSY.total_seconds()
    assert max(found_out, HEARTBEAT.total_seconds()) + looked_again <= 45 - REFRESH_EVERY


def test_a_process_that_holds_nothing_writes_nothing(store: Store) -> None:
    leases = Leases(store.database, lifetime=5, refresh_every=0.05)
    with leases.hold("x"):
        pass
    time.sleep(0.1)
    expiry = "select max(expires_at) as at from knit_leases where name like 'process:%'"
    before = store.database.rows(expiry)
    time.sleep(0.3)
    assert store.database.rows(expiry) == before
    leases.stop()
    assert store.database.rows("select 1 from knit_leases where name like 'process:%'") == []


def test_a_lease_taken_after_an_idle_time_hangs_on_a_fresh_one_of_its_process(store: Store) -> None:
    leases = Leases(store.database, lifetime=2.0, refresh_every=60)
    with leases.hold("x"):
        pass
    time.sleep(1.4)
    with leases.hold("y") as lease:
        time.sleep(0.7)
        assert lease is not None
        lease.check()
        assert not is_free(store, "y")
    leases.stop()


@pytest.mark.parametrize("forged", [range(1, 400), (0, -1), (2**63, 2**200)])
def test_ids_that_are_no_certificate_leave_nothing_behind(store: Store, forged: Iterable[int]) -> None:
    for number in forged:
        with pytest.raises(NoSuchCertificate), store.holding.hold(CertId(number)):
            pass
    assert store.database.rows("select 1 from knit_leases where name like 'cert:%'") == []


def test_a_removed_certificate_that_left_records_in_the_dns_is_still_held_for_them(store: Store) -> None:
    spec = store.add()
    with store.leases.hold("cert:1") as lease:
        attempt = store.begin(lease, spec)
        assert lease is not None
        store.attempts.journal(lease, attempt).presenting(RECORD)
    store.certs.remove(spec.id)
    with store.holding.hold(spec.id) as held:
        assert held is not None
        assert held[1].leftovers
        with store.holding.hold(spec.id) as other:
            assert other is None


@pytest.mark.parametrize("at", ["giving back", "taking"])
def test_what_an_outage_kept_from_being_given_back_is_free_soon_after_it_though_its_process_lives(
    own_postgres: Postgres, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knit.store.database.PATIENCE", 0.5)
    with Database.open(own_postgres.create_database("knit"), connections=2) as database:
        leases, other = Leases(database, refresh_every=0.2), Leases(database)
        if at == "giving back":
            with leases.hold("x"):
                own_postgres.stop()
        else:
            lost = LosingAnswers(database)
            monkeypatch.setattr(leases, "_database", lost)
            with leases.hold("y"), pytest.raises(Outage), leases.hold("x"):
                pass
            own_postgres.stop()
        own_postgres.start()
        began = time.monotonic()
        wait_until(lambda: is_taken(other), "it can be taken", seconds=10)
        assert time.monotonic() - began < 5
        leases.stop()
        other.stop()


class LosingAnswers:
    """A database whose answer to the first taking of x is lost on its way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def row(self, statement: str, parameters: Mapping[str, object]) -> Row | None:
        found = self._database.row(statement, parameters)
        if parameters["name"] == "x":
            raise Outage("the answer is lost")
        return found


def is_taken(leases: Leases) -> bool:
    with leases.hold("x") as lease:
        return lease is not None
