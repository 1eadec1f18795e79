from __future__ import annotations

import json
import logging
import os
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from knit.flows.watch import PATROL
from knit.node.disk import Disk
from rig.valkey import Valkey
from tests.integration.node import pki
from tests.integration.node.conftest import LAYOUT, Node, Publisher


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def stamps(node: Node) -> list[tuple[int, int]]:
    return [(path.stat().st_mtime_ns, path.stat().st_ino) for path in sorted(node.folder.iterdir())]


def test_a_published_pair_is_written_byte_for_byte_with_its_modes_and_reloaded_once(
    node: Node, publisher: Publisher
) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    assert node.once()
    assert node.pair() == bundle
    assert (mode(node.folder / "www.pem"), mode(node.folder / "www.key")) == (0o644, 0o600)
    assert node.files() == {"www.pem", "www.key"}
    assert node.reload_count == 1


def test_fifty_changes_are_reloaded_once(node: Node, publisher: Publisher) -> None:
    for number in range(60):
        publisher.pair(f"cert:{number}", pki.pair(), name=f"n{number}")
    assert node.once()
    assert len(node.files()) == 120
    assert node.reload_count == 1


def test_without_a_change_nothing_is_written_and_nothing_reloaded(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    before = stamps(node)
    assert node.once()
    loop = node.start()
    assert loop.once()
    assert loop._pass(sweep=False)
    assert stamps(node) == before
    assert node.reload_count == 1


def test_an_unchanged_poll_asks_for_the_revision_and_nothing_else(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    publisher.link.client.config_resetstat()
    assert loop._pass(sweep=False)
    calls = publisher.link.client.info("commandstats")
    assert calls["cmdstat_getrange"]["calls"] == 1
    assert not {"cmdstat_get", "cmdstat_smembers", "cmdstat_zrangebyscore"} & calls.keys()


def test_a_change_reaches_the_files_by_the_feed_alone(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    publisher.pair("cert:b", pki.pair(), name="other")
    loop = node.start()
    assert loop.once()
    renewed = pki.pair(age=0.5)
    publisher.pair("cert:a", renewed, generation=2)
    publisher.link.client.config_resetstat()
    assert loop._pass(sweep=False)
    assert node.pair() == renewed
    assert node.reload_count == 2
    assert publisher.link.client.info("commandstats")["cmdstat_getrange"]["calls"] == 2


def test_a_publisher_without_feed_is_followed_at_every_poll(node: Node, publisher: Publisher) -> None:
    publisher.without_feed("cert:a", pki.value(pki.pair(), node.folder, generation=None))
    loop = node.start()
    assert loop.once()
    renewed = pki.pair(age=0.5)
    publisher.without_feed("cert:a", pki.value(renewed, node.folder, generation=None))
    assert loop._pass(sweep=False)
    assert node.pair() == renewed


def test_a_value_without_feed_beside_others_with_one_is_found_by_a_sweep(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    foreign = pki.pair()
    publisher.without_feed("cert:go", pki.value(foreign, node.folder, "go", generation=None))
    assert loop._pass(sweep=False)
    assert "go.pem" not in node.files()
    assert loop._pass(sweep=True)
    assert node.pair("go") == foreign


def test_a_revision_that_went_back_makes_the_node_look_at_everything(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    renewed = pki.pair(age=0.5)
    publisher.without_feed("cert:a", pki.value(renewed, node.folder, generation=2))
    publisher.link.client.set(LAYOUT.revision, 5)
    assert loop._pass(sweep=False)
    assert node.pair() == renewed


@pytest.mark.parametrize("name", ["www.pem", "www.key"])
@pytest.mark.parametrize("damage", ["delete", "edit", "rename"])
def test_files_changed_by_hand_are_repaired_at_the_next_poll(
    node: Node, publisher: Publisher, name: str, damage: str
) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    loop = node.start()
    assert loop.once()
    path = node.folder / name
    if damage == "delete":
        path.unlink()
    elif damage == "edit":
        path.write_bytes(path.read_bytes() + b"#")
    else:
        path.rename(path.with_name("moved"))
    assert loop._pass(sweep=False)
    assert node.pair() == bundle
    assert node.reload_count == 2


def test_files_that_were_only_touched_stay_as_they_are(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    os.utime(node.folder / "www.pem", (1, 1))
    (node.folder / "www.key").chmod(0o640)
    assert loop._pass(sweep=False)
    assert (node.folder / "www.pem").stat().st_mtime == 1
    assert mode(node.folder / "www.key") == 0o640
    assert node.reload_count == 1


def test_a_half_pair_is_completed(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    (node.folder / "www.pem").write_bytes(bundle.fullchain)
    publisher.pair("cert:a", bundle)
    assert node.once()
    assert node.pair() == bundle


def test_what_is_pruned_stays_on_the_node(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    publisher.pair("cert:b", pki.pair(), name="other")
    loop = node.start()
    assert loop.once()
    publisher.prune("cert:a")
    assert loop._pass(sweep=False)
    assert loop._pass(sweep=True)
    assert node.pair() == bundle


def test_a_missing_value_and_an_empty_index_keep_what_is_installed_and_are_said_once(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    loop = node.start()
    assert loop.once()
    publisher.link.client.delete("cert:a")
    for _ in range(3):
        assert loop._pass(sweep=True)
    assert len([record for record in caplog.records if "missing" in record.message]) == 1
    publisher.link.client.delete(LAYOUT.index, LAYOUT.revision, LAYOUT.revisions)
    assert loop._pass(sweep=True)
    assert [record for record in caplog.records if "nothing is published" in record.message]
    assert node.pair() == bundle
    assert node.reload_count == 1


def test_a_lost_valkey_keeps_what_is_installed_and_is_said_once(
    node: Node, own_valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(own_valkey.url, node.folder)
    publisher.pair("cert:a", pki.pair())
    loop = node.with_settings(valkey_url=own_valkey.url).start()
    assert loop.once()
    own_valkey.stop()
    caplog.clear()
    assert not loop._pass(sweep=False)
    assert not loop._pass(sweep=False)
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
    own_valkey.start()
    renewed = pki.pair(age=0.5)
    publisher.pair("cert:a", renewed, generation=2)
    assert loop._pass(sweep=False)
    assert node.pair() == renewed
    publisher.link.close()


def test_a_replica_serves_a_node(node: Node, own_valkey: Valkey) -> None:
    publisher = Publisher(own_valkey.url, node.folder)
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    replica = Valkey(replica_of=own_valkey)
    try:
        replica.start()
        assert node.with_settings(valkey_url=replica.url).once()
        assert node.pair() == bundle
    finally:
        node.opened.close()
        publisher.link.close()
        replica.close()


def test_one_pair_that_is_refused_does_not_stop_the_others(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish("cert:a", b"{}")
    publisher.pair("cert:b", pki.pair())
    loop = node.start()
    assert not loop.once()
    assert node.files() == {"www.pem", "www.key"}
    assert not loop._pass(sweep=True)
    refusals = [record for record in caplog.records if record.message.startswith("pair refused")]
    assert [record.__dict__["key"] for record in refusals] == ["cert:a"]
    publisher.pair("cert:a", pki.pair(), name="fixed")
    assert loop._pass(sweep=False)


def test_two_values_that_name_one_file_are_told_apart_and_both_named(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    first = pki.pair()
    publisher.pair("cert:a", first)
    publisher.pair("cert:b", pki.pair())
    loop = node.start()
    assert not loop.once()
    assert not loop._pass(sweep=False)
    assert node.pair() == first
    assert node.reload_count == 1
    causes = [record.__dict__["cause"] for record in caplog.records if "cause" in record.__dict__]
    assert [cause for cause in causes if "'cert:a'" in cause and "'cert:b'" in cause]


def test_a_file_that_its_key_has_given_up_can_be_taken_over(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:old", pki.pair())
    loop = node.start()
    assert loop.once()
    publisher.prune("cert:old")
    renewed = pki.pair(age=0.5)
    publisher.pair("cert:new", renewed)
    loop._pass(sweep=False)
    assert loop._pass(sweep=False)
    assert node.pair() == renewed


def test_a_change_looks_at_the_files_of_no_other_pair(
    node: Node, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        publisher.pair(f"cert:{number}", pki.pair(age=30), name=f"n{number}")
    loop = node.start()
    assert loop.once()
    asked: list[str] = []
    real = Disk.place

    def place(disk: Disk, path: str) -> object:
        asked.append(path)
        return real(disk, path)

    monkeypatch.setattr(Disk, "place", place)
    publisher.pair("cert:7", pki.pair(), generation=2, name="n7")
    assert loop._pass(sweep=False)
    assert {Path(path).name for path in asked} == {"n7.key", "n7.pem"}
    # And a newcomer that wants another's files is still found out.
    asked.clear()
    publisher.pair("cert:new", pki.pair(), name="n9")
    assert not loop._pass(sweep=False)
    assert {Path(path).name for path in asked} == {"n9.key", "n9.pem"}


def test_a_file_whose_owner_was_given_another_folder_can_be_taken(node: Node, publisher: Publisher) -> None:
    """What a node remembers of places is no more than a hint."""
    old, new = node.folder / "old", node.folder / "new"
    for folder in (old, new):
        folder.mkdir()
    publisher.publish("cert:a", pki.value(pki.pair(age=30), old, "www", generation=1))
    loop = node.start()
    assert loop.once()
    old.rename(node.folder / "moved")
    old.mkdir()
    assert loop._pass(sweep=False)
    publisher.publish("cert:b", pki.value(pki.pair(), node.folder / "moved", "www", generation=1))
    loop._pass(sweep=False)
    assert loop._pass(sweep=False)
    assert (node.folder / "moved/www.key").read_bytes() != (old / "www.key").read_bytes()


def test_two_keys_may_swap_their_files(node: Node, publisher: Publisher) -> None:
    one, two = pki.pair(), pki.pair()
    publisher.pair("cert:a", one, name="x")
    publisher.pair("cert:b", two, name="y")
    loop = node.start()
    assert loop.once()
    publisher.pair("cert:a", one, generation=2, name="z")
    publisher.pair("cert:b", two, generation=2, name="x")
    loop._pass(sweep=False)
    assert loop._pass(sweep=False)
    assert node.pair("x") == two
    assert node.pair("z") == one


def test_a_pair_whose_paths_moved_is_written_there_and_the_old_files_stay(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    loop = node.start()
    assert loop.once()
    publisher.pair("cert:a", bundle, generation=2, name="new")
    assert loop._pass(sweep=False)
    assert node.pair("new") == node.pair("www") == bundle
    assert node.reload_count == 2


OLD, NEW = pki.pair(age=30), pki.pair(age=2)


@pytest.mark.parametrize(
    ("installed", "offered", "replaced"),
    [
        ((OLD, 1), (NEW, 2), True),
        ((NEW, 1), (OLD, 2), True),
        ((OLD, 2), (NEW, 1), False),
        ((NEW, 1), (OLD, 1), False),
        ((OLD, None), (NEW, None), True),
        ((NEW, None), (OLD, None), False),
        ((NEW, 5), (OLD, None), False),
        ((OLD, 5), (NEW, None), True),
        ((NEW, None), (OLD, 5), False),
        ((pki.pair(age=100), None), (OLD, None), True),
        ((OLD, None), (pki.pair(age=100), None), False),
        ((pki.pair(age=100), None), (pki.pair(age=95), None), True),
        ((pki.pair(age=95), None), (pki.pair(age=100), None), False),
        ((NEW, 1), (pki.pair(age=-5), 2), True),
    ],
)
def test_only_what_is_not_older_replaces_what_is_installed(
    node: Node,
    publisher: Publisher,
    installed: tuple[Bundle, int | None],
    offered: tuple[Bundle, int | None],
    replaced: bool,
) -> None:
    publisher.without_feed("cert:a", pki.value(installed[0], node.folder, generation=installed[1]))
    assert node.once()
    publisher.without_feed("cert:a", pki.value(offered[0], node.folder, generation=offered[1]))
    assert node.once() is replaced
    assert node.pair() == (offered[0] if replaced else installed[0])


NOW = int(time.time())
OLDER = pki.pair(age=60)
FOREVER = pki.pair(age=0.01, days=3650)


@pytest.mark.parametrize("absurd", [2**53 - 1, NOW + 40_000_000, NOW + 3600], ids=["highest", "years", "an hour"])
@pytest.mark.parametrize("before", [None, 3, NOW - 5000], ids=["none", "small", "clock"])
@pytest.mark.parametrize("hostile", [FOREVER, pki.pair(age=-300, days=3650), pki.pair("other.test", age=0)])
@pytest.mark.parametrize("after", [OLD, NEW])
def test_a_generation_from_the_future_does_not_outlive_the_publisher_s_recovery(
    node: Node, publisher: Publisher, absurd: int, before: int | None, hostile: Bundle, after: Bundle
) -> None:
    if before is not None:
        publisher.without_feed("cert:a", pki.value(OLD, node.folder, generation=before))
        assert node.once()
    publisher.without_feed("cert:a", pki.value(hostile, node.folder, generation=absurd))
    node.once()
    publisher.without_feed("cert:a", pki.value(after, node.folder, generation=NOW))
    assert node.once()
    assert node.pair() == after
    publisher.without_feed("cert:a", pki.value(OLDER, node.folder, generation=NOW - 1))
    assert not node.once()
    assert node.pair() == after


@pytest.mark.parametrize(
    ("installed", "offered"),
    [
        ((pki.pair(age=100), 9), (NEW, 8)),
        ((pki.pair(age=100), 9), (OLD, 1)),
        ((pki.pair(age=-300), 9), (NEW, 8)),
        ((pki.pair(age=-300), None), (NEW, None)),
        ((pki.pair(age=100), 9), (pki.pair(age=80), None)),
    ],
)
def test_a_pair_that_cannot_be_served_keeps_out_none_that_can(
    node: Node, publisher: Publisher, installed: tuple[Bundle, int | None], offered: tuple[Bundle, int | None]
) -> None:
    for bundle, generation in (installed, offered):
        publisher.without_feed("cert:a", pki.value(bundle, node.folder, generation=generation))
        assert node.once()
    assert node.pair() == offered[0]


def test_a_generation_once_seen_is_not_forgotten_when_another_publisher_comes_between(
    node: Node, publisher: Publisher
) -> None:
    latest = pki.pair(age=1)
    for bundle, generation in ((OLD, 7), (latest, None)):
        publisher.without_feed("cert:a", pki.value(bundle, node.folder, generation=generation))
        assert node.once()
    publisher.without_feed("cert:a", pki.value(pki.pair(age=0.1), node.folder, generation=6))
    assert not node.once()
    assert node.pair() == latest


def test_a_certificate_that_was_removed_and_added_anew_starts_its_generations_anew(
    node: Node, publisher: Publisher
) -> None:
    publisher.without_feed("cert:a", pki.value(OLD, node.folder, generation=7, cert_id=1))
    assert node.once()
    publisher.without_feed("cert:a", pki.value(NEW, node.folder, generation=1, cert_id=2))
    assert node.once()
    assert node.pair() == NEW


@pytest.mark.parametrize(
    ("found", "replaced"),
    [
        (pki.pair(age=0.1, self_issued=True), True),
        (pki.pair("other.test", age=0.1), True),
        (pki.pair(age=0.1), False),
        (pki.pair(age=60), True),
    ],
)
def test_what_others_put_there_counts_only_when_it_is_a_newer_pair_of_the_same_names(
    node: Node, publisher: Publisher, found: Bundle, replaced: bool
) -> None:
    (node.folder / "www.pem").write_bytes(found.fullchain)
    (node.folder / "www.key").write_bytes(found.privkey)
    publisher.pair("cert:a", OLD)
    assert node.once() is replaced
    assert node.pair() == (OLD if replaced else found)


def test_an_expired_pair_is_installed_where_there_is_none_and_said(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    expired = pki.pair(age=100)
    publisher.pair("cert:a", expired)
    assert node.once()
    assert node.pair() == expired
    assert [record for record in caplog.records if "expired" in str(record.__dict__.get("cause"))]


def text(raw: bytes) -> str:
    return raw.decode()


GOOD = pki.pair()
OTHER = pki.pair()


@pytest.mark.parametrize(
    ("bundle", "why"),
    [
        (Bundle(fullchain=GOOD.fullchain, privkey=OTHER.privkey), "not the key of the certificate"),
        (Bundle(fullchain=b"text\n" + GOOD.fullchain, privkey=GOOD.privkey), "something else"),
        (Bundle(fullchain=GOOD.fullchain + b"* * * * * root sh\n", privkey=GOOD.privkey), "something else"),
        (Bundle(fullchain=GOOD.fullchain, privkey=b"evil\n" + GOOD.privkey), "something else"),
        (Bundle(fullchain=GOOD.fullchain, privkey=GOOD.privkey * 2), "something else"),
        (Bundle(fullchain=GOOD.fullchain + GOOD.privkey, privkey=GOOD.privkey), "something else"),
        (Bundle(fullchain=GOOD.fullchain[:-40], privkey=GOOD.privkey), "something else"),
        (Bundle(fullchain=GOOD.fullchain * 9, privkey=GOOD.privkey), "more than 16"),
        (Bundle(fullchain=b"", privkey=GOOD.privkey), "empty"),
        (Bundle(fullchain=GOOD.fullchain, privkey=b""), "something else"),
        (
            Bundle(fullchain=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", privkey=GOOD.privkey),
            "cannot be parsed",
        ),
        (
            Bundle(
                fullchain=GOOD.fullchain,
                privkey=b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            ),
            "cannot be parsed",
        ),
    ],
)
def test_a_value_that_is_no_pair_is_refused_with_its_reason_and_without_its_key(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture, bundle: Bundle, why: str
) -> None:
    publisher.pair("cert:a", bundle)
    assert not node.once()
    assert node.files() == set()
    assert why in caplog.records[-1].__dict__["cause"]
    assert text(GOOD.privkey)[60:90] not in caplog.text + str([record.__dict__ for record in caplog.records])


def test_a_pair_with_blank_lines_and_windows_line_ends_is_written_as_it_is(node: Node, publisher: Publisher) -> None:
    bundle = Bundle(fullchain=b"\n" + GOOD.fullchain.replace(b"\n", b"\r\n") + b"\n", privkey=GOOD.privkey + b"\n\n")
    publisher.pair("cert:a", bundle)
    assert node.once()
    assert node.pair() == bundle


def test_a_value_with_a_wrong_hash_or_of_huge_size_or_of_another_type_is_refused(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    members = json.loads(pki.value(GOOD, node.folder))
    publisher.without_feed("cert:hash", json.dumps({**members, "sha256": "0" * 64}).encode())
    publisher.without_feed("cert:huge", b"x" * 5_000_000)
    publisher.without_feed("cert:list", b"x")
    publisher.link.client.delete("cert:list")
    publisher.link.client.rpush("cert:list", "x")
    assert not node.once()
    causes = {record.__dict__["key"]: record.__dict__["cause"] for record in caplog.records if "key" in record.__dict__}
    assert "sha256" in causes["cert:hash"]
    assert "more than" in causes["cert:huge"]
    assert "something else" in causes["cert:list"]
    assert node.files() == set()


def test_polls_come_at_the_interval_given(node: Node) -> None:
    assert node.with_settings(watch_interval=timedelta(seconds=7)).start()._interval == 7


def test_on_a_node_with_many_pairs_damage_is_found_within_a_few_polls(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    for number in range(PATROL + 10):
        publisher.pair(f"cert:{number}", bundle, name=f"n{number}")
    loop = node.start()
    assert loop.once()
    for path in node.folder.glob("n*.key"):
        path.write_bytes(b"")
    assert loop._pass(sweep=False)
    assert len([path for path in node.folder.glob("n*.key") if not path.stat().st_size]) == 10
    assert loop._pass(sweep=False)
    assert all(path.read_bytes() == bundle.privkey for path in node.folder.glob("n*.key"))


def test_what_is_not_for_this_node_is_one_line_and_no_failure(
    node: Node, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        publisher.publish(f"cert:{number}", pki.value(pki.pair(), tmp_path / "elsewhere", f"n{number}"))
    publisher.pair("cert:mine", pki.pair())
    caplog.set_level(logging.INFO)
    loop = node.start()
    assert loop.once()
    assert loop.once()
    said = [record for record in caplog.records if record.getMessage() == "published values that are not for this node"]
    assert [record.__dict__["count"] for record in said] == [5]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert node.files() == {"www.pem", "www.key"}


def test_a_value_that_the_feed_names_and_the_index_does_not_is_not_installed(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    publisher.pair("cert:b", pki.pair(), name="other")
    publisher.link.client.srem(LAYOUT.index, "cert:b")
    assert loop._pass(sweep=False)
    assert node.files() == {"www.pem", "www.key"}
    publisher.pair("cert:c", pki.pair(), name="third")
    assert loop._pass(sweep=False)
    assert node.files() == {"www.pem", "www.key", "third.pem", "third.key"}
