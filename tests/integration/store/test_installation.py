"""What the store keeps about its Valkey, and what is made once though many come first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from knit.core.installation import Installation
from knit.core.model.issuer import Terms
from knit.store.accounts.issuers import IssuerMemory
from knit.store.database import Database
from knit.store.publications.installation import Installations
from tests.integration.store.conftest import Store


def test_of_many_that_come_first_all_are_told_the_same(store: Store, migrated: str) -> None:
    with Database.open(migrated, connections=8) as database, ThreadPoolExecutor(8) as threads:
        memory = IssuerMemory(database)
        for _ in range(20):
            store.database.write("truncate knit_installation, knit_issuers")
            ids = threads.map(lambda _: Installations(database).known().id, range(8))
            assert len(set(ids)) == 1
            terms = [Terms(name="acme", directory=f"https://{n}.example/") for n in range(8)]
            directories = threads.map(memory.remember, terms)
            assert len(set(directories)) == 1


def test_the_place_and_the_revision_are_kept_beside_the_id(store: Store) -> None:
    first = store.home.known()
    assert (first.place, first.revision) == (None, 0)
    store.home.settled("valkey:6379/0", 7)
    assert store.home.known() == Installation(id=first.id, place="valkey:6379/0", revision=7)


def test_what_nothing_explains_is_noted_from_its_first_sight_on_while_it_stays_the_same(store: Store) -> None:
    first = store.home.unexplained({"a": "1", "b": "#x"})
    again = store.home.unexplained({"a": "1", "b": "#y"})
    assert again["a"] == first["a"]
    assert again["b"] > first["b"], "somebody publishes it"
    assert store.passes.removals().noted
    store.home.unexplained({"b": "#y"})
    assert store.home.unexplained({"a": "1", "b": "#y"})["a"] > first["a"], "it was explained meanwhile"
    assert store.home.unexplained({}) == {}
    assert not store.passes.removals().noted


@pytest.mark.parametrize("statement", ["delete from knit_certs", "delete from knit_certs where domains like 'host1%'"])
def test_a_deleted_row_leaves_tombstones_of_what_it_published_and_wanted(
    store: Store, migrated: str, statement: str
) -> None:
    spec = store.add(1)
    store.publish(spec)
    store.database.write("update knit_certs set valkey_key = 'certs/new'")
    with psycopg.connect(migrated) as connection:
        connection.execute(statement.encode())
    assert store.passes.removals().keys == {"certs/1", "certs/new"}


def test_what_was_asked_for_after_the_values_were_looked_at_is_not_cleared(store: Store) -> None:
    spec = store.add(1)
    store.publish(spec)
    store.certs.remove(spec.id)
    looked = store.passes.removals()
    store.publish(store.add(1))
    store.database.write("delete from knit_certs")
    store.passes.clear_removals(looked.keys, looked.at)
    assert store.passes.removals().keys == {"certs/1"}


def test_all_keys_a_certificate_has_had_are_compromised_at_once_and_its_open_attempt_is_over(store: Store) -> None:
    spec = store.add(1)
    assert store.home.compromise(spec.id) == 0
    with store.leases.hold("cert:1") as lease:
        store.begin(lease, spec)
    assert store.home.compromise(spec.id) == 1
    assert store.home.compromised() == {"ab"}
    assert store.load(spec.id).state.attempt is None


def test_a_move_is_recorded_only_in_place_of_what_was_read(store: Store) -> None:
    spec = store.add(1)
    read = store.publish(spec, generation=5)
    newer = store.publish(spec, generation=6)
    moved = replace(read, generation=7, valkey_key="certs/new")
    assert not store.passes.record_refreshed(moved, read)
    assert store.load(spec.id).state.issued == newer
    assert store.passes.removals().keys == {"certs/new"}, "what was written in vain is taken out again"
