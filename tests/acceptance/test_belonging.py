"""One database and one Valkey: strangers change nothing, and what nobody explains does not go at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import cast

import psycopg
import pytest

from rig.postgres import Postgres
from tests.acceptance.scene import Scene

NAMES = tuple(f"n{number}.knit.example" for number in range(4))

# Some start a dozen processes one after the other.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def other(postgres: Postgres, scene: Scene) -> Iterator[str]:
    """Another database, whose list has the first name only."""
    url = postgres.create_database("other")
    places = {
        "valkey-key": f"certs:{NAMES[0]}",
        "cert-path": str(scene.tls / f"{NAMES[0]}.crt"),
        "key-path": str(scene.tls / f"{NAMES[0]}.key"),
    }
    flags = [word for flag, place in places.items() for word in (f"--{flag}", place)]
    add = ("add", "--domains", NAMES[0], "--provider", "dnsupdate", *flags)
    assert scene.knit.knit(*add, env={"KNIT_DB_URL": url}).code == 0
    yield url
    postgres.drop_database("other")


def everything(scene: Scene) -> dict[str, object]:
    """All keys of the Valkey with what they hold."""
    with closing(scene.servers.valkey.client()) as client:
        names = cast("list[str]", client.keys("*"))
        return {name: client.get(name) if name.startswith("certs:") else client.type(name) for name in names}


@pytest.mark.parametrize("command", [("renew", "--once"), ("renew", "--id", "1"), ("prune", "--confirm")], ids=str)
def test_a_database_that_does_not_belong_to_the_valkey_changes_nothing_and_orders_nothing(
    scene: Scene, other: str, command: tuple[str, ...]
) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    before, orders = everything(scene), scene.pebble.orders()

    done = scene.knit.knit(*command, env={"KNIT_DB_URL": other, "KNIT_QUEUE_URL": ""})
    assert done.code == 1
    assert done.err.count("belongs to another installation of knit") >= 1
    assert "knit adopt-valkey" in done.err
    assert (everything(scene), scene.pebble.orders()) == (before, orders)
    assert scene.once().code == 0


def test_a_taken_over_valkey_keeps_the_former_installation_s_values_and_lets_it_write_no_more(
    scene: Scene, other: str
) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    before, orders = scene.values(), scene.pebble.orders()

    assert scene.knit.knit("adopt-valkey", env={"KNIT_DB_URL": other}).code == 0
    done = scene.once(KNIT_DB_URL=other)
    assert done.code == 0, done.err
    assert "values that this installation did not write" in done.err
    pruned = scene.knit.knit("prune", "--confirm", env={"KNIT_DB_URL": other})
    assert (pruned.code, pruned.out.splitlines()[0]) == (0, "pruned: 0")
    assert scene.values() == before
    assert scene.pebble.orders() == orders, "the value of the name both list is taken as it is"

    assert scene.once().code == 1
    assert scene.values() == before
    assert scene.knit.knit("adopt-valkey").code == 0
    assert scene.once().code == 0


def test_two_databases_of_an_earlier_knit_on_one_valkey_never_take_turns(scene: Scene, other: str) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    with closing(scene.servers.valkey.client()) as client:
        client.delete("knit:index:installation")
    scene.sql("update knit_installation set place = null")
    before, orders = scene.values(), scene.pebble.orders()

    done = scene.once(KNIT_DB_URL=other)
    assert done.code == 1
    assert "3 of 4 values" in done.err
    assert scene.once().code == 0
    assert scene.once(KNIT_DB_URL=other).code == 1
    assert (scene.values(), scene.pebble.orders()) == (before, orders)


@pytest.mark.parametrize("from_before", [False, True], ids=["known place", "of an earlier knit"])
def test_another_database_number_of_the_same_valkey_is_refused(scene: Scene, from_before: bool) -> None:
    scene.insert(NAMES[:2])
    assert scene.once().code == 0
    if from_before:
        scene.sql("update knit_installation set place = null")
    orders, elsewhere = scene.pebble.orders(), scene.servers.valkey.url_of(database=1)

    done = scene.once(KNIT_VALKEY_URL=elsewhere)
    assert done.code == 1
    assert "its database number too" in done.err
    assert scene.pebble.orders() == orders
    with closing(scene.servers.valkey.client()) as client:
        client.select(1)
        assert client.keys("*") == []


def test_an_emptied_valkey_is_filled_again_but_not_for_ever(scene: Scene) -> None:
    scene.insert(NAMES[:2])
    assert scene.once().code == 0
    passes = []
    for _ in range(7):
        scene.servers.valkey.flush()
        passes.append(scene.once())
    assert len(scene.pebble.finalized()) == 2 * 3
    assert "lost value not issued anew" in passes[-1].err
    assert all("not ordered anew more than twice" in row["last_error"] for row in scene.knit.list())
    asked = scene.knit.knit("renew", "--domains", NAMES[0], "--force", "--again", env={"KNIT_QUEUE_URL": ""})
    assert asked.code == 0, asked.err
    assert scene.index() == {f"certs:{NAMES[0]}"}


def test_whoever_deletes_a_row_its_value_is_gone_after_the_next_pass(scene: Scene) -> None:
    """By SQL of a user who may write the list and nothing else, and as the Go knit's `remove` does it."""
    scene.insert(NAMES)
    done = scene.once()
    assert done.code == 0, done.err
    with psycopg.connect(scene.servers.database, autocommit=True) as connection:
        connection.execute("drop role if exists clerk")
        connection.execute("create role clerk")
        connection.execute("grant select, delete on knit_certs to clerk")
        connection.execute("set role clerk")
        connection.execute("delete from knit_certs where id = 1")
        connection.execute("reset role")
        connection.execute("delete from knit_certs where domains = %s", [NAMES[1]])
        connection.execute("drop owned by clerk")
        connection.execute("drop role clerk")
    done = scene.once()
    assert done.code == 0, done.err
    assert scene.index() == {f"certs:{name}" for name in NAMES[2:]}
    assert [scene.raw(f"certs:{name}") for name in NAMES[:2]] == [None, None]


def test_a_removal_is_carried_out_though_the_index_has_lost_the_value(scene: Scene) -> None:
    scene.insert(NAMES[:2])
    assert scene.once().code == 0
    with closing(scene.servers.valkey.client()) as client:
        client.srem("knit:index", f"certs:{NAMES[0]}")
        client.zrem("knit:index:revisions", f"certs:{NAMES[0]}")
    assert scene.knit.knit("remove", "--domains", NAMES[0]).code == 0
    assert scene.once().code == 0
    assert scene.raw(f"certs:{NAMES[0]}") is None


def unexplained(scene: Scene, *names: str) -> None:
    """Rows that are gone without a word, as after a restore of an older database."""
    with psycopg.connect(scene.servers.database) as connection:
        connection.execute("alter table knit_certs disable trigger knit_bury")
        connection.execute("alter table knit_issued disable trigger knit_bury")
        connection.execute("delete from knit_certs where domains = any(%s)", [list(names)])
        connection.execute("alter table knit_certs enable trigger knit_bury")
        connection.execute("alter table knit_issued enable trigger knit_bury")


def test_a_value_that_nothing_explains_is_reported_and_kept_for_seven_days(scene: Scene) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    before = scene.values()
    unexplained(scene, NAMES[0])
    done = scene.once()
    assert done.code == 0, done.err
    assert f"certs:{NAMES[0]}" in done.err
    assert scene.values() == before
    scene.sql("update knit_unexplained set since = now() - interval '6 days 23 hours'")
    assert scene.once().code == 0
    assert scene.values() == before
    scene.sql("update knit_unexplained set since = now() - interval '7 days'")
    assert scene.once().code == 0
    assert scene.index() == {f"certs:{name}" for name in NAMES[1:]}
    assert scene.raw(f"certs:{NAMES[0]}") is None


def test_a_person_may_have_unexplained_values_pruned_at_once_but_never_all(scene: Scene) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    before = scene.values()
    unexplained(scene, *NAMES[:3])
    shown = scene.knit.knit("prune")
    assert shown.code == 0
    assert [f"certs:{name}" in shown.out for name in NAMES] == [True, True, True, False]
    assert scene.values() == before
    done = scene.knit.knit("prune", "--confirm")
    assert (done.code, done.out.splitlines()[0]) == (0, "pruned: 3")
    assert scene.index() == {f"certs:{NAMES[3]}"}

    unexplained(scene, NAMES[3])
    done = scene.knit.knit("prune", "--confirm")
    assert done.code == 1
    assert "a prune never takes all" in done.out
    assert scene.index() == {f"certs:{NAMES[3]}"}


def test_a_key_once_declared_compromised_is_published_no_more(scene: Scene) -> None:
    name = NAMES[0]
    scene.insert([name, NAMES[1]])
    assert scene.once().code == 0
    bad = scene.raw(f"certs:{name}")
    assert bad is not None
    done = scene.knit.knit("renew", "--domains", name, "--key-compromised", env={"KNIT_QUEUE_URL": ""})
    assert done.code == 0, done.err
    good = scene.value(f"certs:{name}")
    assert good["privkey"] not in bad.decode()

    with closing(scene.servers.valkey.client()) as client:
        client.set(f"certs:{name}", bad)
    ordered = len(scene.pebble.finalized())
    done = scene.once()
    assert done.code == 0, done.err
    assert "its key was declared compromised" in done.err
    assert len(scene.pebble.finalized()) == ordered + 1
    assert scene.value(f"certs:{name}")["privkey"] not in bad.decode()

    # Removed and added again over the value of an older Valkey: nothing about it is taken over.
    assert scene.knit.knit("remove", "--domains", name).code == 0
    assert scene.once().code == 0
    with closing(scene.servers.valkey.client()) as client:
        client.set(f"certs:{name}", bad)
        client.sadd("knit:index", f"certs:{name}")
    scene.insert([name])
    done = scene.once()
    assert done.code == 0, done.err
    assert scene.value(f"certs:{name}")["privkey"] not in bad.decode()
