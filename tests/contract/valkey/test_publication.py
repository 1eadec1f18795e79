from __future__ import annotations

import json
import threading
import time
from contextlib import closing

import pytest
import redis
from redis.client import PubSub

from knit.errors import CredentialsRejected, ForeignValkey, Refused, Unreachable
from knit.valkey.connect import Link, connect
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from rig.process import wait_until
from rig.valkey import Valkey

LAYOUT = Layout()
OURS = "installation-of-the-test"
SECRET = b"canary-of-a-private-key"


@pytest.fixture
def publication(link: Link) -> ValkeyPublication:
    publication = ValkeyPublication(link, LAYOUT, OURS)
    assert publication.claim(None)
    return publication


def value(generation: int, filling: str = "") -> bytes:
    return json.dumps({"privkey": filling, "knit": {"generation": generation}}).encode()


def revision(link: Link) -> int:
    return int(link.client.get(LAYOUT.revision) or 0)


def test_publishing_sets_value_index_and_feed(publication: ValkeyPublication, link: Link) -> None:
    assert publication.publish([("cert:a", value(1), "")]) == [None]
    assert publication.live(["cert:a", "cert:absent"]) == {"cert:a": value(1)}
    assert tuple(publication.survey()) == ({"cert:a"}, set(), revision(link))
    assert link.client.zscore(LAYOUT.revisions, "cert:a") == revision(link)
    assert abs(revision(link) - time.time() * 1e6) < 60e6


def test_each_publication_is_announced_with_its_revision(publication: ValkeyPublication, link: Link) -> None:
    with PubSub(link.client.connection_pool, ignore_subscribe_messages=True) as hints:
        hints.subscribe(LAYOUT.channel)
        hints.get_message(timeout=1)
        publication.publish([("cert:a", value(1), "")])
        hint = hints.get_message(timeout=1)
    assert hint is not None
    assert int(hint["data"]) == revision(link)


def token(publication: ValkeyPublication, key: str) -> str:
    return publication.look([key])[key].token


def test_many_are_published_together_under_one_revision(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:b", value(9, "newer"), "")])
    before = revision(link)
    some = [(f"cert:{name}", value(number), "") for number, name in enumerate("abc", start=1)]
    assert publication.publish(some) == [None, "9", None]
    assert publication.live(["cert:a", "cert:b", "cert:c"]) == {
        "cert:a": value(1),
        "cert:b": value(9, "newer"),
        "cert:c": value(3),
    }
    assert tuple(publication.survey()) == ({"cert:a", "cert:b", "cert:c"}, set(), revision(link))
    assert revision(link) > before
    scores = {key: link.client.zscore(LAYOUT.revisions, key) for key in ("cert:a", "cert:b", "cert:c")}
    assert scores == {"cert:a": revision(link), "cert:b": before, "cert:c": revision(link)}


def test_nothing_new_leaves_the_feed_alone(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:a", value(2), ""), ("cert:b", value(2), "")])
    before = revision(link)
    assert publication.publish([("cert:a", value(3), "1"), ("cert:b", value(3), "")]) == ["2", "2"]
    assert revision(link) == before


def test_the_same_command_sent_twice_because_its_answer_was_lost_is_done_once(publication: ValkeyPublication) -> None:
    some = [("cert:a", value(2), "")]
    assert publication.publish(some) == publication.publish(some) == [None]


@pytest.mark.parametrize("stored", [0, 1, 4, 6, 1_800_000_000])
@pytest.mark.parametrize("read", ["", "5", "#0000000000000000000000000000000000000000"])
def test_only_what_was_read_is_replaced_be_it_older_or_newer(
    publication: ValkeyPublication, link: Link, stored: int, read: str
) -> None:
    publication.publish([("cert:a", value(stored), "")])
    before = revision(link)
    assert publication.publish([("cert:a", value(2**53 - 1, "other"), read)]) == [str(stored)]
    assert publication.live(["cert:a"]) == {"cert:a": value(stored)}
    assert revision(link) == before
    assert publication.publish([("cert:a", value(2**53 - 1, "other"), str(stored))]) == [None]


def test_an_exchange_writes_all_or_nothing(publication: ValkeyPublication) -> None:
    publication.publish([("cert:a", value(1), ""), ("cert:b", value(2), "")])
    before = publication.live(["cert:a", "cert:b"])
    for read in ("1", "#", ""):
        assert not publication.exchange([("cert:a", value(3, "b"), "1"), ("cert:b", value(3, "a"), read)])
    assert publication.live(["cert:a", "cert:b"]) == before
    assert publication.exchange([("cert:a", value(3, "b"), "1"), ("cert:b", value(3, "a"), "2")])
    assert publication.live(["cert:a", "cert:b"]) == {"cert:a": value(3, "b"), "cert:b": value(3, "a")}


def test_a_value_that_is_gone_is_not_what_was_read(publication: ValkeyPublication) -> None:
    assert publication.publish([("cert:a", value(6), "5")]) == [""]
    assert publication.live(["cert:a"]) == {}


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
        b'{"knit":{"generation":-1}}',
        b'{"knit":{"generation":1e300}}',
        b'{"knit":{"generation":9007199254740991}}',
        b'{"knit":{"generation":99999999999}}',
        b'{"fullchain":"x"}',
    ],
)
def test_a_damaged_value_or_one_of_another_publisher_is_told_by_its_bytes(
    publication: ValkeyPublication, link: Link, stored: bytes
) -> None:
    link.client.set("cert:a", stored)
    read = token(publication, "cert:a")
    assert read.startswith("#")
    link.client.set("cert:a", stored + b" ")
    assert publication.publish([("cert:a", value(1), read)]) != [None]
    assert publication.prune({"cert:a": read}) == set()
    assert publication.publish([("cert:a", value(1), token(publication, "cert:a"))]) == [None]
    assert publication.live(["cert:a"]) == {"cert:a": value(1)}


def test_a_key_that_holds_no_string_is_replaced(publication: ValkeyPublication, link: Link) -> None:
    link.client.sadd("cert:a", "x")
    assert publication.live(["cert:a"]) == {}
    assert publication.look(["cert:a"]) == {"cert:a": ("#", b"")}
    assert publication.publish([("cert:a", value(1), "#")]) == [None]
    assert publication.live(["cert:a"]) == {"cert:a": value(1)}


def test_the_revision_grows_also_when_the_clock_has_stepped_back(publication: ValkeyPublication, link: Link) -> None:
    link.client.set(LAYOUT.revision, 9_000_000_000_000_000)
    publication.publish([("cert:a", value(1), "")])
    publication.publish([("cert:b", value(1), "")])
    assert revision(link) == 9_000_000_000_000_002


@pytest.mark.parametrize("key", [LAYOUT.index, LAYOUT.revision, LAYOUT.staging(3, OURS), LAYOUT.installation])
def test_no_certificate_is_published_under_a_name_knit_needs(publication: ValkeyPublication, key: str) -> None:
    with pytest.raises(Refused, match="reserved"):
        publication.publish([(key, value(1), "")])


def test_of_racing_publishers_each_replaces_only_what_it_has_read(publication: ValkeyPublication) -> None:
    written: list[tuple[int, int]] = []

    def publish(generation: int) -> None:
        while (read := token(publication, "cert:a")) == "" or int(read) < generation:
            if publication.publish([("cert:a", value(generation), read)]) == [None]:
                written.append((generation, int(read or 0)))

    threads = [threading.Thread(target=publish, args=(generation,)) for generation in range(1, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publication.live(["cert:a"]) == {"cert:a": value(24)}
    chain = sorted(written)
    assert [read for _, read in chain] == [0, *(generation for generation, _ in chain[:-1])]


def test_members_without_a_value_are_found(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:a", value(1), "")])
    # A name with a NUL, which no row can have, is other software's, and comes out as no two names of ours.
    link.client.sadd(LAYOUT.index, "cert:lost", "", b"cert:\xff", "cert:a\0cert:b")
    survey = publication.survey()
    assert survey.members == {"cert:a", "cert:lost", "", "cert:\udcff"}
    assert survey.missing == {"cert:lost", "", "cert:\udcff"}


def test_a_survey_of_nothing_is_empty(publication: ValkeyPublication) -> None:
    assert tuple(publication.survey()) == (set(), set(), 0)


def test_prune_removes_value_member_and_feed_entry_of_these_keys_alone(
    publication: ValkeyPublication, link: Link
) -> None:
    for key in ("cert:a", "cert:b", "cert:c"):
        publication.publish([(key, value(1), "")])
    before = revision(link)
    gone = publication.prune({"cert:a": "1", "cert:b": "1", "cert:never": "1"})
    assert gone == {"cert:a", "cert:b", "cert:never"}
    assert tuple(publication.survey()) == ({"cert:c"}, set(), revision(link))
    assert publication.live(["cert:a", "cert:b", "cert:c"]) == {"cert:c": value(1)}
    assert link.client.zrange(LAYOUT.revisions, 0, -1) == [b"cert:c"]
    assert revision(link) > before


def test_prune_of_a_name_knit_needs_leaves_the_key_itself(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:a", value(1), "")])
    link.client.sadd(LAYOUT.index, LAYOUT.index, LAYOUT.revision)
    publication.prune({LAYOUT.index: "#", LAYOUT.revision: token(publication, LAYOUT.revision)})
    assert tuple(publication.survey()) == ({"cert:a"}, set(), revision(link))
    assert link.client.exists(LAYOUT.revision)


def test_many_keys_are_read_and_pruned(publication: ValkeyPublication, link: Link) -> None:
    keys = [f"cert:{number}" for number in range(12_000)]
    link.client.mset(dict.fromkeys(keys, "x"))
    link.client.sadd(LAYOUT.index, *keys, "cert:lost")
    assert len(publication.live(keys)) == len(keys)
    assert tuple(publication.survey()) == ({*keys, "cert:lost"}, {"cert:lost"}, 0)
    publication.prune({key: stored.token for key, stored in publication.look([*keys, "cert:lost"]).items()})
    assert publication.survey().members == set()
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
    publication = ValkeyPublication(link, LAYOUT, OURS)
    publication.claim(None)
    link.client.config_set(setting, setting_value)
    with pytest.raises(error, match=code) as caught:
        publication.publish([("cert:a", SECRET, "")])
    assert SECRET.decode() not in str(caught.value)
    assert caught.value.__suppress_context__
    assert str(own_valkey.port) in str(caught.value)
    link.close()


def test_a_replica_says_readonly(own_valkey: Valkey) -> None:
    replica = Valkey(replica_of=own_valkey)
    try:
        replica.start()
        link = connect(replica.url, name="knit-test")
        primary = connect(own_valkey.url, name="knit-test")
        assert ValkeyPublication(primary, LAYOUT, OURS).claim(None)
        publication = ValkeyPublication(link, LAYOUT, OURS)
        wait_until(lambda: publication.installation() == OURS, "the replica in step")
        with pytest.raises(Unreachable, match="READONLY"):
            publication.publish([("cert:a", SECRET, "")])
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
    publication = ValkeyPublication(link, LAYOUT, OURS)
    publication.claim(None)
    with pytest.raises(CredentialsRejected, match="the key cert:b is outside"):
        publication.publish([("cert:a", value(1), ""), ("cert:b", value(1), "")])
    assert admin.get("cert:b") is None
    assert (admin.get("cert:a") is None) == (admin.zscore(LAYOUT.revisions, "cert:a") is None)
    publication.publish([("cert:a", value(2), token(publication, "cert:a"))])
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
        ValkeyPublication(reader, LAYOUT, OURS).publish([("cert:a", SECRET, "")])
    wrong = connect(own_valkey.url_of(user="reader", password="hunter2"), name="knit-test")
    with pytest.raises(CredentialsRejected, match="WRONGPASS") as caught:
        ValkeyPublication(wrong, LAYOUT, OURS).survey()
    assert "hunter2" not in str(caught.value)
    own_valkey.stop()
    with pytest.raises(Unreachable, match="does not answer"):
        ValkeyPublication(reader, LAYOUT, OURS).survey()
    for link in (reader, wrong):
        link.close()
    admin.close()


@pytest.mark.parametrize("found", [None, "another"])
def test_a_valkey_that_is_not_ours_takes_no_write(link: Link, found: str | None) -> None:
    if found is not None:
        link.client.set(LAYOUT.installation, found)
    stranger = ValkeyPublication(link, LAYOUT, OURS)
    link.client.set("cert:a", value(1))
    before = sorted(link.client.keys("*"))
    for write in (
        lambda: stranger.publish([("cert:b", value(1), "")]),
        lambda: stranger.prune({"cert:a": "1"}),
        lambda: stranger.rehearse("cert:b"),
    ):
        with pytest.raises(ForeignValkey):
            write()
    assert sorted(link.client.keys("*")) == before


def test_of_two_that_claim_a_valkey_one_gets_it(link: Link) -> None:
    one, other = ValkeyPublication(link, LAYOUT, "one"), ValkeyPublication(link, LAYOUT, "other")
    assert [one.claim(None), other.claim(None), one.claim(None)] == [True, False, True]
    assert other.claim("one")
    assert one.installation() == "other"


def test_a_rehearsal_publishes_nothing_and_leaves_nothing(publication: ValkeyPublication, link: Link) -> None:
    publication.publish([("cert:a", value(1), "")])
    before = {key: link.client.dump(key) for key in link.client.keys("*")}
    publication.rehearse("cert:a")
    publication.rehearse("cert:b")
    assert {key: link.client.dump(key) for key in link.client.keys("*")} == before


COMMANDS = ["get", "set", "del", "sadd", "srem", "zadd", "zrem", "time", "smembers", "exists"]
STAGING = ["hset", "hgetall", "unlink"]


@pytest.mark.parametrize(
    ("rights", "named"),
    [
        *((["~*", "&*", "+@all", f"-{command}"], f"(?i)\\b{command}\\b") for command in (*COMMANDS, *STAGING)),
        (["~*", "&*", "+@all", "-evalsha"], "evalsha"),
        (["~*", "&*", "+@all", "-script|load"], "script|load"),
        (["~knit:index*", "~other:*", "&*", "+@all"], "the key cert:a is outside"),
        (["~cert:*", "~knit:index", "&*", "+@all"], "the key knit:index:revision is outside"),
        (["~cert:*", "~knit:index", "~knit:index:[rip]*", "&*", "+@all"], "the key knit:index:staging:"),
    ],
    ids=[*COMMANDS, *STAGING, "evalsha", "script load", "key of the certificate", "key of the feed", "key of staging"],
)
def test_a_rehearsal_names_the_right_that_is_missing(own_valkey: Valkey, rights: list[str], named: str) -> None:
    with closing(redis.Redis.from_url(own_valkey.url)) as admin:
        admin.set(LAYOUT.installation, OURS)
        admin.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">pass", *rights)  # type: ignore[no-untyped-call]
    link = connect(own_valkey.url_of(user="narrow", password="pass"), name="knit-test")
    with closing(link), pytest.raises(CredentialsRejected, match=named):
        ValkeyPublication(link, LAYOUT, OURS).rehearse("cert:a")


def test_without_rights_on_the_channel_values_are_published_and_the_lack_is_named(
    own_valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(redis.Redis.from_url(own_valkey.url)) as admin:
        admin.set(LAYOUT.installation, OURS)
        admin.execute_command("ACL", "SETUSER", "mute", "reset", "on", ">pass", "~*", "+@all")  # type: ignore[no-untyped-call]
        with closing(connect(own_valkey.url_of(user="mute", password="pass"), name="knit-test")) as link:
            publication = ValkeyPublication(link, LAYOUT, OURS)
            publication.rehearse("cert:a")
            assert [record.getMessage() for record in caplog.records] == ["no hints to nodes"]
            assert publication.publish([("cert:a", value(1), "")]) == [None]
            assert publication.prune({"cert:a": "1"}) == {"cert:a"}
        assert admin.exists("cert:a") == 0


def test_a_server_in_cluster_mode_is_called_that() -> None:
    server = Valkey(cluster=True)
    try:
        server.start()
        with closing(connect(server.url, name="knit-test")) as link:
            publication = ValkeyPublication(link, LAYOUT, OURS)
            publication.claim(None)
            with pytest.raises(Refused, match="is in cluster mode"):
                publication.rehearse("cert:a")
    finally:
        server.close()
