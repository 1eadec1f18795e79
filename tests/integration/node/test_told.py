"""However many pairs have a trouble, and however long it lasts, it is a few lines, once."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from knit.node.told import LINES, Once
from tests.integration.node import pki
from tests.integration.node.conftest import LAYOUT, Node, Publisher, attribute, small_disk, with_attributes

MANY = 200
PAIR = pki.pair()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root can set")


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def publish(publisher: Publisher, folder: Path, numbers: range = range(MANY)) -> None:
    for number in numbers:
        publisher.publish(f"cert:{number:03}", pki.value(PAIR, folder, f"n{number}", cert_id=number))


def without_folder(node: Node, publisher: Publisher) -> None:
    publish(publisher, node.folder / "missing")


def without_value(node: Node, publisher: Publisher) -> None:
    publish(publisher, node.folder)
    publisher.link.client.delete(*(f"cert:{number:03}" for number in range(MANY)))


def without_sense(node: Node, publisher: Publisher) -> None:
    del node
    for number in range(MANY):
        publisher.publish(f"cert:{number:03}", b"{}")


def without_rights(node: Node, publisher: Publisher) -> None:
    (node.folder / "file").write_bytes(b"")
    publish(publisher, node.folder / "file/below")


def each_with_a_path_of_its_own(node: Node, publisher: Publisher) -> None:
    for number in range(MANY):
        (node.folder / f"n{number}.pem").mkdir()
    publish(publisher, node.folder)


TROUBLES = [without_folder, without_value, without_sense, without_rights, each_with_a_path_of_its_own]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.__name__)
def test_one_trouble_of_many_pairs_is_a_few_lines_once(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture, trouble: Callable[[Node, Publisher], None]
) -> None:
    trouble(node, publisher)
    loop = node.start()
    loop.once()
    first = said(caplog)
    assert 1 <= len(first) <= LINES + 1
    assert sum(record.__dict__.get("count", 1) for record in first) == MANY
    for sweep in (False, True, False):
        loop._pass(sweep=sweep)
    assert said(caplog) == first


def test_another_pair_with_the_same_trouble_and_its_end_are_a_line_each(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    without_folder(node, publisher)
    loop = node.start()
    loop.once()
    caplog.clear()
    caplog.set_level(logging.INFO)
    publish(publisher, node.folder / "missing", range(MANY, MANY + 1))
    loop._pass(sweep=False)
    (line,) = said(caplog)
    assert line.__dict__["key"] == f"cert:{MANY}"
    (node.folder / "missing").mkdir()
    assert loop._pass(sweep=False)
    (over,) = [record for record in caplog.records if "is over" in record.message]
    assert over.__dict__["count"] == MANY + 1
    assert said(caplog) == [line]


def test_a_folder_that_is_removed_with_many_pairs_in_it_is_a_few_lines(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    (node.folder / "lost").mkdir()
    publish(publisher, node.folder / "lost")
    loop = node.start()
    assert loop.once()
    shutil.rmtree(node.folder / "lost")
    caplog.clear()
    for _ in range(4):
        assert not loop._pass(sweep=False)
    assert len(said(caplog)) <= 2
    (node.folder / "lost").mkdir()
    assert loop._pass(sweep=False)
    assert len(list((node.folder / "lost").glob("n*.key"))) == MANY


def test_a_full_disk_under_many_pairs_is_a_few_lines_once(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(node.folder / "small", kib=256) as leave:
        publish(publisher, node.folder / "small")
        leave(0)
        loop = node.start()
        for _ in range(3):
            assert not loop._pass(sweep=False)
        assert 1 <= len(said(caplog)) <= LINES + 1


def test_certificates_that_have_expired_and_cannot_be_written_are_said_once(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    (node.folder / "www.pem").mkdir()
    publisher.pair("cert:a", pki.pair(age=91))
    loop = node.start()
    for _ in range(3):
        assert not loop.once()
    assert len(said(caplog)) == 2


def test_an_index_that_stays_empty_is_said_once_also_without_a_feed(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", PAIR)
    loop = node.start()
    assert loop.once()
    publisher.link.client.delete(LAYOUT.index, LAYOUT.revision, LAYOUT.revisions)
    for _ in range(3):
        assert loop._pass(sweep=False)
    assert len(said(caplog)) == 1


@needs_root
def test_a_disk_that_became_read_only_is_one_line_and_leaves_nothing_to_remove(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    folder = node.folder / "disk"
    with small_disk(folder):
        publisher.publish("cert:a", pki.value(PAIR, folder))
        assert node.once()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)  # noqa: S607 -- wherever it is here
        publisher.publish("cert:a", pki.value(pki.pair(age=0.5), folder, generation=2), 2)
        loop = node.start()
        for _ in range(3):
            assert not loop._pass(sweep=False)
        (line,) = said(caplog)
        assert "Read-only" in line.__dict__["cause"]
        assert not loop._disk._memory.leftovers
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)  # noqa: S607
        assert loop._pass(sweep=False)


@needs_root
@with_attributes
def test_rights_of_others_that_cannot_be_taken_away_are_said_once(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", PAIR)
    loop = node.start()
    assert loop.once()
    key = node.folder / "www.key"
    key.chmod(0o644)
    with attribute(key, "i"):
        for _ in range(3):
            loop._pass(sweep=False)
        (line,) = said(caplog)
        assert "cannot be taken away" in line.__dict__["cause"]


def test_rights_to_many_files_and_many_that_are_published_no_longer_are_a_line_each(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publish(publisher, node.folder)
    loop = node.start()
    assert loop.once()
    for key in node.folder.glob("*.key"):
        key.chmod(0o644)
    caplog.set_level(logging.INFO)
    caplog.clear()
    assert loop.once()
    (line,) = said(caplog)
    assert line.__dict__["count"] == MANY
    publisher.link.client.srem(LAYOUT.index, *(f"cert:{number:03}" for number in range(1, MANY)))
    caplog.clear()
    assert loop.once()
    (line,) = caplog.records
    assert line.__dict__["count"] == MANY - 1


@needs_root
@with_attributes
def test_a_temporary_file_that_stays_is_named_by_the_next_process_too(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", PAIR)
    assert node.once()
    with attribute(node.folder, "a"):
        publisher.pair("cert:a", pki.pair(age=0.5), generation=2)
        for _ in range(2):
            caplog.clear()
            loop = node.start()
            for _ in range(3):
                assert not loop._pass(sweep=False)
            paths = [record.__dict__["path"] for record in said(caplog) if "cannot be removed" in record.message]
            assert len(paths) == len(set(paths)) == 4


def test_a_temporary_file_that_cannot_be_reached_is_named_once_and_tried_again(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", PAIR)
    loop = node.start()
    assert loop.once()
    folder = node.folder / "away"
    path = folder / f".knit-{'0' * 16}-key.old.tmp"
    loop._disk._memory.left(str(path), there=True)
    for _ in range(3):
        assert loop._pass(sweep=False)
    (line,) = said(caplog)
    assert (line.getMessage()[:37], line.__dict__["path"]) == ("a temporary file cannot be removed, t", str(path))
    folder.mkdir()
    path.write_text("x")
    assert loop._pass(sweep=False)
    assert not path.exists()
    assert not loop._disk._memory.leftovers
    folder.rmdir()
    loop._disk._memory.left(str(path), there=True)
    assert loop._pass(sweep=False)
    assert len(said(caplog)) == 2, "it is another trouble"


def test_what_lasts_is_said_again_only_after_a_turn_without_it(caplog: pytest.LogCaptureFixture) -> None:
    once = Once(logging.getLogger("knit.test"))
    for words in ("a", "a", "b", "", "a"):
        once.turn()
        for _ in range(2):
            once.say(logging.WARNING, "x", cause=words)
    assert [record.__dict__["cause"] for record in caplog.records] == ["a", "b", "", "a"]
