"""What a node remembers, damaged, missing, foreign or without room: one comparison, and one reload at most."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from knit.errors import Transient
from knit.node import state_log
from knit.node.memory import Memory
from knit.node.moves import Move, sha256
from knit.node.state import StateFolder
from knit.node.traits import Traits
from tests.integration.node import pki
from tests.integration.node.conftest import (
    Node,
    Publisher,
    attribute,
    owes,
    small_disk,
    with_a_short_name,
    with_attributes,
)
from tests.integration.node.test_crashes import NAMES, NEW, OLD, Machine, between_renames, crash

PARTS = 3
"""Of what takes long: they run side by side."""

LEGACY = ("state.json", "journal.json")


def state_of(node: Node) -> Path:
    return Path(node.settings.state_dir)


def legacy_record(node: Node, bundle_sha256: str, **more: object) -> dict[str, object]:
    return {
        "sha256": bundle_sha256,
        "cert_path": f"{node.folder}/www.pem",
        "key_path": f"{node.folder}/www.key",
        "not_before": pki.NOW.isoformat(),
        "not_after": pki.NOW.isoformat(),
        "cert_id": 1,
        "generation": 1,
    } | more


def legacy_state(node: Node, bundle_sha256: str, *, owed: bool = False, **more: object) -> bytes:
    record = legacy_record(node, bundle_sha256, **more)
    return json.dumps({"v": 1, "revision": 5, "reload_owed": owed, "installed": {"cert:a": record}}).encode()


@pytest.fixture
def no_power_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is damaged here is damaged by the test: waiting for the disk thousands of times shows nothing more."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def variants(data: bytes) -> list[bytes]:
    """Each byte changed in three ways, and each beginning."""
    changed = [
        data[:at] + bytes([byte]) + data[at + 1 :]
        for at in range(len(data))
        for byte in (data[at] ^ 1, 0x0A, 0xFF)
        if byte != data[at]
    ]
    return changed + [data[:end] for end in range(0, len(data), 7)]


@with_a_short_name
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.usefixtures("no_power_loss")
def test_any_damaged_byte_of_the_state_at_rest_costs_one_comparison(home: Path, part: int) -> None:
    machine = Machine(home)
    machine.install(OLD, 1)
    state = home / "state/state.log"
    whole = state.read_bytes()
    for damaged in variants(whole)[part::PARTS]:
        state.write_bytes(damaged)
        with machine.started() as disk:
            disk.recover()
            disk.tidy()
            disk.remember(7)
            for key in list(disk.installed):
                assert disk.holds(key)
        with machine.started() as disk:
            assert disk.revision == 7
    assert machine.pairs() == OLD
    assert machine.files() == NAMES


@with_a_short_name
@pytest.mark.usefixtures("no_power_loss")
def test_any_damaged_byte_of_a_journal_in_mid_deployment_leaves_whole_pairs(home: Path) -> None:
    machine = crash(home, between_renames(home / "find"), "after")
    assert machine is not None
    state = home / "state/state.log"
    whole = state.read_bytes()
    shutil.copytree(machine.folder, home / "kept", copy_function=os.link)
    for damaged in variants(whole)[::13]:
        shutil.rmtree(machine.folder)
        shutil.copytree(home / "kept", machine.folder, copy_function=os.link)
        state.write_bytes(damaged)
        with machine.started() as disk:
            disk.recover()
            disk.tidy()
            if len(damaged) == len(whole):
                assert all(pair in {OLD[n], NEW[n]} for n, pair in enumerate(machine.pairs_of(disk)))
        machine.install(NEW, 2)
        assert machine.pairs() == NEW


@pytest.mark.parametrize(
    "entry",
    [
        ["put", "cert:0", None, 1],
        ["put", "cert:0", ["zz", "/a", "/b", 1, 2, None, None], 1],
        ["put", "cert:0", ["00" * 32, "/a", "/b", 10**30, 2, None, None], 1],
        ["put", "cert:0", ["00" * 32, "/a", "/b", 1], 1],
        ["put", 5, [], 1],
        ["move", "cert:0", [], []],
        ["move", "cert:0", [["a", "b", "c"], ["a", "b", "c"]], None],
        ["going", "cert:0"],
        ["left", 5],
        ["revision", "soon"],
        ["knit", 99, "of another version"],
        ["something new", {}],
        [[[[]]]],
    ],
    ids=str,
)
def test_a_whole_line_that_makes_no_sense_costs_one_comparison(tmp_path: Path, entry: list[object]) -> None:
    machine = Machine(tmp_path)
    machine.install(OLD, 1)
    with (tmp_path / "state/state.log").open("ab") as state:
        state.write(state_log._line(entry))
    with machine.started() as disk:
        disk.recover()
        disk.tidy()
        disk.remember(7)
    with machine.started() as disk:
        assert disk.revision == 7
    assert machine.pairs() == OLD
    machine.install(NEW, 2)
    assert machine.pairs() == NEW


@pytest.mark.parametrize("name", ["state.log", "state.log.tmp", "lock", *LEGACY])
@pytest.mark.parametrize(
    "kind", ["folder", "full folder", "pipe", "link", "dangling", "loop", "socket", "huge", "empty"]
)
@pytest.mark.timeout(60)
def test_no_kind_of_file_in_the_state_folder_stops_or_hangs_a_node(
    node: Node, publisher: Publisher, tmp_path: Path, name: str, kind: str
) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    assert node.once()
    target = state_of(node) / name
    target.unlink(missing_ok=True)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    _make(target, kind, precious)
    assert node.once()
    assert node.once()
    assert node.pair() == bundle
    assert node.reload_count <= 2
    assert precious.read_text() == "precious"
    count = node.reload_count
    publisher.pair("cert:a", pki.pair(age=0.5), generation=2)
    assert node.once()
    assert node.reload_count == count + 1


def _make(target: Path, kind: str, precious: Path) -> None:
    if "folder" in kind:
        target.mkdir()
        if kind == "full folder":
            (target / "x").touch()
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "socket":
        # The name of a socket may be no longer than 107 bytes.
        folder = os.open(target.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{folder}/{target.name}")
        os.close(folder)
    elif kind == "huge":
        target.touch()
        os.truncate(target, 2**40)
    elif kind == "empty":
        target.touch()
    else:
        target.symlink_to({"link": precious, "dangling": Path("/nowhere/x"), "loop": target}[kind])


@pytest.mark.parametrize("owed", [False, True])
def test_a_lost_state_costs_one_reload_since_nobody_knows_what_is_loaded(
    node: Node, publisher: Publisher, owed: bool
) -> None:
    publisher.pair("cert:a", pki.pair())
    (node.with_settings(reload_cmd="false") if owed else node).once()
    before = node.reload_count
    shutil.rmtree(state_of(node))
    for _ in range(3):
        assert node.once()
    assert node.reload_count == before + 1


def test_a_damaged_line_forgets_no_reload_that_is_owed(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    publisher.pair("cert:a", pki.pair(age=0.5), generation=2)
    assert not node.with_settings(reload_cmd="false").once()
    log = state_of(node) / "state.log"
    whole = log.read_bytes()
    for line in whole.splitlines(keepends=True):
        log.write_bytes(whole.replace(line, line.replace(b"[", b"{"), 1))
        before = node.reload_count
        assert node.once()
        assert node.reload_count == before + 1


@pytest.mark.parametrize("free", [0, 60, 5000])
def test_a_full_state_disk_keeps_the_old_pair_and_reloads_no_more_than_once(
    node: Node, publisher: Publisher, free: int
) -> None:
    old, new = pki.pair(age=30), pki.pair()
    with small_disk(state_of(node), 256) as leave:
        publisher.pair("cert:a", old)
        loop = node.start()
        assert loop.once()
        leave(free)
        # More pairs than there is room for in the journal.
        for number in range(40):
            publisher.pair(f"cert:{number}", new, generation=2, name=f"n{number}")
        publisher.pair("cert:a", new, generation=2)
        for _ in range(4):
            loop._pass(sweep=False)
        assert node.reload_count <= 2
        assert node.pair() in {old, new}
        leave(200_000)
        loop._pass(sweep=False)
        assert loop.once()
        assert node.pair() == new
        node.opened.close()


def test_a_reload_that_cannot_be_noted_is_not_repeated(node: Node, publisher: Publisher) -> None:
    with small_disk(state_of(node)) as leave:
        filling = node.with_settings(
            reload_cmd=f"echo x >> {node.reloads}; cat /dev/zero > {state_of(node)}/filler; true"
        )
        publisher.pair("cert:a", pki.pair())
        loop = filling.start()
        loop.once()
        for _ in range(3):
            loop._pass(sweep=False)
        assert node.reload_count == 1
        leave(60_000)
        assert loop._pass(sweep=False)
        node.opened.close()
        assert node.once()
        assert node.reload_count == 1


def test_files_found_by_a_node_that_cannot_remember_are_not_reloaded_for_at_each_start(
    node: Node, publisher: Publisher
) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    shutil.rmtree(state_of(node))
    with small_disk(state_of(node)) as leave:
        (state_of(node) / "lock").touch()
        leave(0)
        for _ in range(3):
            node.once()
        assert node.reload_count == 1
        leave(60_000)
        assert node.once()
        assert node.once()
        assert node.reload_count == 2


@pytest.mark.parametrize("how", ["removed", "moved", "emptied", "log only", "lock only"])
def test_a_state_folder_taken_away_from_a_running_node_is_made_again(
    node: Node, publisher: Publisher, how: str
) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    loop = node.start()
    assert loop.once()
    state = state_of(node)
    if how == "removed":
        shutil.rmtree(state)
    elif how == "moved":
        state.rename(state.with_name("elsewhere"))
    else:
        for name in {"emptied": ["state.log", "lock"], "log only": ["state.log"], "lock only": ["lock"]}[how]:
            (state / name).unlink()
    renewed = pki.pair()
    publisher.pair("cert:a", renewed, generation=2)
    assert loop._pass(sweep=False)
    assert loop._pass(sweep=False)
    assert node.pair() == renewed
    assert node.reload_count == 2
    with pytest.raises(Exception, match="another knit watch is using"):
        StateFolder(str(state))
    node.opened.close()
    assert node.once()
    assert node.reload_count == 2


def test_of_two_watchers_on_one_folder_that_was_removed_only_the_second_goes_on(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    first = pki.pair(age=30)
    publisher.pair("cert:a", first)
    loop = node.start()
    assert loop.once()
    shutil.rmtree(state_of(node))
    second = StateFolder(str(state_of(node)))
    publisher.pair("cert:a", pki.pair(), generation=2)
    assert not loop._pass(sweep=False)
    assert node.pair() == first
    assert "another knit watch is using" in str([record.__dict__.get("cause") for record in caplog.records])
    second.close()
    assert loop._pass(sweep=False)


def test_what_is_written_is_as_much_as_what_changed(node: Node, publisher: Publisher) -> None:
    for number in range(120):
        publisher.pair(f"cert:{number}", OLD[0], name=f"n{number}")
    loop = node.start()
    assert loop.once()
    log = state_of(node) / "state.log"
    before, inode = log.stat().st_size, log.stat().st_ino
    publisher.pair("cert:7", NEW[0], generation=2, name="n7")
    assert loop._pass(sweep=False)
    assert log.stat().st_ino == inode
    assert log.stat().st_size - before < 3000


@pytest.mark.parametrize("room", [1, 10, 40])
def test_a_line_for_which_there_is_no_room_leaves_no_half_of_itself(tmp_path: Path, room: int) -> None:
    """Whoever reads the file next finds no damage, and need not compare everything."""
    folder = StateFolder(str(tmp_path / "state"))
    known: list[list[object]] = [["rev", 1]]
    book = state_log.StateLog(folder, lambda: known)
    book.append([["rev", 2]])
    whole = (tmp_path / "state/state.log").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + room, hard))
    try:
        with pytest.raises(Transient):
            book.append([["put", "x" * 100]])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "state/state.log").read_bytes() == whole
    book.append([["rev", 3]])
    assert None not in list(book.entries())
    book.close()
    folder.close()


def test_history_is_forgotten_in_time(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.started() as disk:
        for revision in range(100_000):
            disk.remember(revision)
    assert (tmp_path / "state/state.log").stat().st_size < 2**21
    with machine.started() as disk:
        assert disk.revision == 99_999


def remembered(memory: Memory) -> tuple[object, ...]:
    installed = dict(memory.installed.items())
    return memory.node, memory.revision, installed, memory.unloaded, memory.moves, memory.leftovers, memory.rights


def test_all_that_is_remembered_is_read_again_from_lines_and_from_the_file_written_anew(tmp_path: Path) -> None:
    machine, folder = Machine(tmp_path), StateFolder(str(tmp_path / "state"))
    memory = Memory(folder)
    moves = [Move.of(machine.placement(number, OLD[0], 1), memory.node) for number in range(5)]
    memory.begin(moves)
    memory.put([(move.key, move.record) for move in moves[:2]], loaded=True)
    memory.put([(move.key, move.record) for move in moves[2:4]], loaded=False)
    memory.drop([moves[0].key, moves[2].key])
    memory.settle(moves[:2])
    memory.proceed([moves[2].found(True, False)])
    stays, gone = (f"/etc/ssl/.knit-{memory.node}-{'0' * 16}-{kind}.old.tmp" for kind in ("key", "chain"))
    for path in (stays, gone):
        memory.left(path, there=True)
    memory.left(gone, there=False)
    memory.reached(7)
    path = moves[1].record.paths[0]
    rights = Traits(uid=1, gid=2, mode=0o640, lists={"system.posix_acl_access": b"\x02\x00"})
    memory.given({path: rights, stays: rights})
    memory.given({stays: None})
    before = remembered(memory)
    assert before[3:] == ({moves[2].key, moves[3].key}, memory.moves, {stays}, {path: rights})
    for _ in range(3):
        memory.close()
        memory = Memory(folder)
        assert remembered(memory) == before
        memory._log.rewrite()
    memory.close()
    folder.close()


def test_the_rights_of_a_file_that_another_key_has_by_now_stay_when_the_first_one_goes(tmp_path: Path) -> None:
    """As when a row is made anew under another key, with the same paths."""
    machine, folder = Machine(tmp_path), StateFolder(str(tmp_path / "state"))
    memory = Memory(folder)
    move = Move.of(machine.placement(1, OLD[0], 1), memory.node)
    rights = Traits(uid=0, gid=70, mode=0o640, lists={})
    memory.put([(move.key, move.record)], loaded=True)
    memory.given(dict.fromkeys(move.record.paths, rights))
    memory.put([("certs:another", move.record)], loaded=True)
    memory.drop([move.key])
    for _ in range(2):
        assert memory.rights == dict.fromkeys(move.record.paths, rights)
        memory.close()
        memory = Memory(folder)
    memory.drop(["certs:another"])
    assert memory.rights == {}
    memory.close()
    folder.close()


@pytest.mark.parametrize("owed", [True, False])
def test_the_state_of_an_earlier_knit_is_taken_over(node: Node, publisher: Publisher, owed: bool) -> None:
    bundle = pki.pair()
    raw = pki.value(bundle, node.folder)
    (node.folder / "www.pem").write_bytes(bundle.fullchain)
    (node.folder / "www.key").write_bytes(bundle.privkey)
    publisher.publish("cert:a", raw)
    state_of(node).mkdir()
    (state_of(node) / "state.json").write_bytes(legacy_state(node, json.loads(raw)["sha256"], owed=owed))
    assert node.once()
    assert node.once()
    assert node.reload_count == int(owed)
    assert {path.name for path in state_of(node).iterdir()} == {"state.log", "lock"}


@with_a_short_name
@pytest.mark.usefixtures("no_power_loss")
def test_any_damaged_byte_of_an_earlier_state_is_survived(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    whole = legacy_state(node, json.loads(pki.value(bundle, node.folder))["sha256"])
    journal = _legacy_journal(node)
    machine = Machine(node.folder.parent)
    state = node.folder.parent / "state"
    for name, data in (("state.json", whole), ("journal.json", journal)):
        for damaged in variants(data):
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir()
            (state / name).write_bytes(damaged)
            with machine.started() as disk:
                disk.recover()
                disk.tidy()
                disk.remember(1)
                for key in list(disk.installed):
                    disk.holds(key)
            with machine.started() as disk:
                disk.recover()


def test_the_journal_of_an_earlier_knit_is_carried_out(node: Node) -> None:
    (node.folder / "www.key").write_bytes(NEW[0].privkey)
    (node.folder / f".knit-{'0' * 16}-key.old.tmp").write_bytes(OLD[0].privkey)
    (node.folder / "www.pem").write_bytes(OLD[0].fullchain)
    (node.folder / f".knit-{'0' * 16}-chain.new.tmp").write_bytes(NEW[0].fullchain)
    (node.folder / f".knit-{'0' * 16}-chain.old.tmp").write_bytes(OLD[0].fullchain)
    state_of(node).mkdir()
    (state_of(node) / "journal.json").write_bytes(_legacy_journal(node))
    with Machine(node.folder.parent).started() as disk:
        disk.recover()
        assert owes(disk)
    assert node.pair() == NEW[0]
    assert node.files() == {"www.pem", "www.key"}


def _legacy_journal(node: Node) -> bytes:
    digest = json.loads(pki.value(NEW[0], node.folder))["sha256"]
    return json.dumps({"v": 1, "phase": "moving", "moves": [_legacy_move(node, digest)]}).encode()


def _legacy_move(node: Node, digest: str) -> dict[str, object]:

    parts = [
        {
            "path": f"{node.folder}/www.key",
            "sha256": sha256(NEW[0].privkey),
            "mark": f"{'0' * 16}-key",
            "had_old": True,
        },
        {
            "path": f"{node.folder}/www.pem",
            "sha256": sha256(NEW[0].fullchain),
            "mark": f"{'0' * 16}-chain",
            "had_old": True,
        },
    ]
    return {"key": "cert:a", "parts": parts, "record": legacy_record(node, digest)}


def test_a_path_in_the_state_that_no_deployment_made_is_never_removed(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    victim = node.folder / "victim.conf"
    victim.write_text("precious")
    odd = [str(victim), "relative", "/", "", f"{node.folder}/www.key", f"{node.folder}/.knit-x.tmp", "/\0"]
    with Path(node.settings.state_dir, "state.log").open("ab") as log:
        log.writelines(state_log._line(["left", path]) for path in odd)
    assert node.once()
    assert victim.read_text() == "precious"
    assert (node.folder / "www.key").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="what only root can set")
@with_attributes
def test_a_state_that_may_not_be_touched_ends_no_node_and_is_said_once(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    assert node.once()
    publisher.pair("cert:a", pki.pair(), generation=2)
    log = Path(node.settings.state_dir, "state.log")
    with attribute(log, "i"):
        loop = node.start()
        for _ in range(3):
            assert not loop._pass(sweep=False)
        (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert "cannot be written" in line.__dict__["cause"]
    assert loop._pass(sweep=False)
    assert node.reload_count == 2


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_state_that_another_user_has_left_is_replaced(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    with tempfile.TemporaryDirectory() as home:
        state = Path(home, "state.log")
        shutil.copy(Path(node.settings.state_dir, "state.log"), state)
        state.chmod(0o600)
        os.chown(home, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            folder = StateFolder(home)
            memory = Memory(folder)
            memory.reached(7)
            memory.ready()
            memory.close()
            folder.close()
        finally:
            os.seteuid(0)
        assert state.stat().st_uid == NOBODY
