from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from redis.client import PubSub

from knit.errors import CredentialsRejected, Refused, Unreachable
from knit.valkey.connect import Link, connect
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from tests.rig.valkey import Valkey

LAYOUT = Layout()
SECRET = b"canary-of-a-private-key"


@pytest.fixture
def link(valkey_url: str) -> Iterator[Link]:
    link = connect(valkey_url, name="knit-test")
    yield link
    link.close()


@pytest.fixture
def publication(link: Link) -> ValkeyPublication:
    return ValkeyPublication(link, LAYOUT)


def value(generation: int, filling: str = "") -> bytes:
    return json.dumps({"privkey": filling, "knit": {"generation": generation}}).encode()


def revision(link: Link) -> int:
    return int(link.client.get(LAYOUT.revision) or 0)


def test_publishing_sets_value_index_and_feed(publication: ValkeyPublication, link: Link) -> None:
    assert publication.publish([("cert:a", value(1), 1)]) == [None]
    assert publication.live(["cert:a", "cert:absent"]) == {"cert:a": value(1)}
    assert publication.survey() == ({"cert:a"}, set())
    assert link.client.zscore(LAYOUT.revisions, "cert:a") == revision(link)
    assert abs(revision(link) - time.time() * 1e6) < 60e6


def test_each_publication_is_announced_with_its_revision(publication: ValkeyPublication, link: Link) -> None:
    with PubSub(link.client.connection_pool, ignore_subscribe_messages=True) as hints:
        hints.subscribe(LAYOUT.channel)
        hints.get_message(timeout=1)
        publication.publish([("cert:a", value(1), 1)])
        hint = hints.get_message(timeout=1)
    assert hint is not None
    assert int(hint["data"]) == revision(link)


def test_many_are_published_together_under_one_revision(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:b", value(9, "newer"), 9)])
    before = revision(link)
    some = [(f"cert:{name}", value(number), number) for number, name in enumerate("abc", start=1)]
    assert publication.publish(some) == [None, 9, None]
    assert publication.live(["cert:a", "cert:b", "cert:c"]) == {
        "cert:a": value(1),
        "cert:b": value(9, "newer"),
        "cert:c": value(3),
    }
    assert publication.survey() == ({"cert:a", "cert:b", "cert:c"}, set())
    assert revision(link) > before
    scores = {key: link.client.zscore(LAYOUT.revisions, key) for key in ("cert:a", "cert:b", "cert:c")}
    assert scores == {"cert:a": revision(link), "cert:b": before, "cert:c": revision(link)}


def test_nothing_new_leaves_the_feed_alone(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:a", value(2), 2), ("cert:b", value(2), 2)])
    before = revision(link)
    assert publication.publish([("cert:a", value(1), 1), ("cert:b", value(2), 2)]) == [2, 2]
    assert revision(link) == before


@pytest.mark.parametrize("stored", [5, 6, 1_700_000_000, 1_800_000_000])
def test_a_value_as_new_or_newer_stays(publication: ValkeyPublication, link: Link, stored: int) -> None:
    publication.publish([("cert:a", value(stored), stored)])
    before = revision(link)
    assert publication.publish([("cert:a", value(5, "other"), 5)]) == [stored]
    assert publication.live(["cert:a"]) == {"cert:a": value(stored)}
    assert revision(link) == before


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"not json",
        b"[]",
        b"5",
        b"[" * 5000,
        b'{"knit":null}',
        b'{"knit":{"generation":"9"}}',
        b'{"knit":{"generation":9007199254740992}}',
        b'{"knit":{"generation":1e300}}',
        b'{"knit":{"generation":9007199254740991}}',
        b'{"knit":{"generation":99999999999}}',
        b'{"fullchain":"x"}',
    ],
)
def test_a_damaged_value_or_one_of_another_publisher_is_replaced(
    publication: ValkeyPublication, link: Link, stored: bytes
) -> None:
    link.client.set("cert:a", stored)
    assert publication.publish([("cert:a", value(1), 1)]) == [None]
    assert publication.live(["cert:a"]) == {"cert:a": value(1)}


def test_a_key_that_holds_no_string_is_replaced(publication: ValkeyPublication, link: Link) -> None:
    link.client.sadd("cert:a", "x")
    assert publication.live(["cert:a"]) == {}
    assert publication.publish([("cert:a", value(1), 1)]) == [None]
    assert publication.live(["cert:a"]) == {"cert:a": value(1)}


def test_the_revision_grows_also_when_the_clock_has_stepped_back(publication: ValkeyPublication, link: Link) -> None:
    link.client.set(LAYOUT.revision, 9_000_000_000_000_000)
    publication.publish([("cert:a", value(1), 1)])
    publication.publish([("cert:b", value(1), 1)])
    assert revision(link) == 9_000_000_000_000_002


@pytest.mark.parametrize("key", [LAYOUT.index, LAYOUT.revision, LAYOUT.staging(3)])
def test_no_certificate_is_published_under_a_name_knit_needs(publication: ValkeyPublication, key: str) -> None:
    with pytest.raises(Refused, match="reserved"):
        publication.publish([(key, value(1), 1)])


def test_racing_publishers_leave_the_newest(publication: ValkeyPublication, link: Link) -> None:
    def publish(generation: int) -> None:
        publication.publish([("cert:a", value(generation), generation)])

    threads = [threading.Thread(target=publish, args=(generation,)) for generation in range(1, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publication.live(["cert:a"]) == {"cert:a": value(24)}


def test_members_without_a_value_are_found(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:a", value(1), 1)])
    link.client.sadd(LAYOUT.index, "cert:lost", "", b"cert:\xff")
    assert publication.survey() == ({"cert:a", "cert:lost", "", "cert:\udcff"}, {"cert:lost", "", "cert:\udcff"})


def test_a_survey_of_nothing_is_empty(publication: ValkeyPublication) -> None:
    assert publication.survey() == (set(), set())


def test_prune_removes_value_member_and_feed_entry_of_these_keys_alone(
    publication: ValkeyPublication, link: Link
) -> None:
    for key in ("cert:a", "cert:b", "cert:c"):
        publication.publish([(key, value(1), 1)])
    before = revision(link)
    publication.prune(["cert:a", "cert:b", "cert:never"])
    assert publication.survey() == ({"cert:c"}, set())
    assert publication.live(["cert:a", "cert:b", "cert:c"]) == {"cert:c": value(1)}
    assert link.client.zrange(LAYOUT.revisions, 0, -1) == [b"cert:c"]
    assert revision(link) > before


def test_prune_of_a_name_knit_needs_leaves_the_key_itself(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:a", value(1), 1)])
    link.client.sadd(LAYOUT.index, LAYOUT.index, LAYOUT.revision)
    publication.prune([LAYOUT.index, LAYOUT.revision])
    assert publication.survey() == ({"cert:a"}, set())
    assert link.client.exists(LAYOUT.revision)


def test_many_keys_are_read_and_pruned(publication: ValkeyPublication, link: Link) -> None:
    keys = [f"cert:{number}" for number in range(12_000)]
    link.client.mset(dict.fromkeys(keys, "x"))
    link.client.sadd(LAYOUT.index, *keys, "cert:lost")
    assert len(publication.live(keys)) == len(keys)
    assert publication.survey() == ({*keys, "cert:lost"}, {"cert:lost"})
    publication.prune([*keys, "cert:lost"])
    assert publication.survey() == (set(), set())
    assert publication.live(keys) == {}


@pytest.mark.parametrize(
    ("setting", "setting_value", "error", "code"),
    [
        ("maxmemory", "1", Unreachable, "OOM"),
        ("min-replicas-to-write", "1", Unreachable, "NOREPLICAS"),
    ],
)
def test_a_server_that_takes_no_writes_is_named_by_its_code_and_nothing_else(
    own_valkey: Valkey, setting: str, setting_value: str, error: type[Exception], code: str
) -> None:
    link = connect(own_valkey.url, name="knit-test")
    link.client.config_set(setting, setting_value)
    with pytest.raises(error, match=code) as caught:
        ValkeyPublication(link, LAYOUT).publish([("cert:a", SECRET, 1)])
    assert SECRET.decode() not in str(caught.value)
    assert caught.value.__suppress_context__
    assert str(own_valkey.port) in str(caught.value)
    link.close()


def test_a_replica_says_readonly(own_valkey: Valkey) -> None:
    replica = Valkey(replica_of=own_valkey)
    try:
        replica.start()
        link = connect(replica.url, name="knit-test")
        with pytest.raises(Unreachable, match="READONLY"):
            ValkeyPublication(link, LAYOUT).publish([("cert:a", SECRET, 1)])
        link.close()
    finally:
        replica.close()


def test_of_many_one_that_is_refused_leaves_no_value_that_the_feed_does_not_tell(own_valkey: Valkey) -> None:
    admin = redis.Redis.from_url(own_valkey.url)
    admin.acl_setuser(
        "narrow",
        enabled=True,
        passwords=["+pass"],
        keys=["knit:index*", "cert:a"],
        channels=["*"],
        categories=["+@all"],
    )
    link = connect(own_valkey.url_of(user="narrow", password="pass"), name="knit-test")
    publication = ValkeyPublication(link, LAYOUT)
    with pytest.raises(CredentialsRejected):
        publication.publish([("cert:a", value(1), 1), ("cert:b", value(1), 1)])
    assert admin.get("cert:b") is None
    assert (admin.get("cert:a") is None) == (admin.zscore(LAYOUT.revisions, "cert:a") is None)
    publication.publish([("cert:a", value(2), 2)])
    assert admin.zscore(LAYOUT.revisions, "cert:a") is not None
    link.close()
    admin.close()


def test_a_user_without_rights_or_a_wrong_password_is_told_apart_from_a_dead_server(own_valkey: Valkey) -> None:
    admin = redis.Redis.from_url(own_valkey.url)
    admin.acl_setuser(
        "reader", enabled=True, passwords=["+pass"], keys=["*"], categories=["+@read"], commands=["+info"]
    )
    reader = connect(own_valkey.url_of(user="reader", password="pass"), name="knit-test")
    with pytest.raises(CredentialsRejected, match="NOPERM"):
        ValkeyPublication(reader, LAYOUT).publish([("cert:a", SECRET, 1)])
    wrong = connect(own_valkey.url_of(user="reader", password="hunter2"), name="knit-test")
    with pytest.raises(CredentialsRejected, match="WRONGPASS") as caught:
        ValkeyPublication(wrong, LAYOUT).survey()
    assert "hunter2" not in str(caught.value)
    own_valkey.stop()
    with pytest.raises(Unreachable, match="does not answer"):
        ValkeyPublication(reader, LAYOUT).survey()
    for link in (reader, wrong):
        link.close()
    admin.close()
