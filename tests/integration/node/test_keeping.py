"""What a node keeps of the files it replaces, and what it leaves beside them: nothing."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from knit.core.digest import pair_digest
from knit.core.outputs import outputs_of
from knit.core.placement import Installed, Placement
from knit.node import deployment
from knit.node.disk import Disk
from knit.node.folders import Folders
from knit.node.moves import Move
from knit.node.state import StateFolder
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, attribute, owes, with_attributes
from tests.integration.node.test_crashes import NAMES, NEW, OLD, Machine, between_renames, crash

AS_ROOT = os.geteuid() == 0
GROUP, OWNER = 54321, 54322
ACCESS_LIST = "system.posix_acl_access"

needs_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def renew(node: Node, publisher: Publisher, generation: int = 2) -> None:
    publisher.pair("cert:a", pki.pair(age=1 / generation), generation=generation)
    assert node.once()


def access_list(*, user: int, rights: int) -> bytes:
    """A POSIX access list, as the kernel takes it: owner rw, one user more, no group, mask, no others."""
    entries = [(0x01, 6, -1), (0x02, rights, user), (0x04, 0, -1), (0x10, rights, -1), (0x20, 0, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


@needs_root
@pytest.mark.parametrize("before", [0o640, 0o440, 0o660, 0o400])
def test_a_key_s_group_and_mode_outlive_its_renewal(node: Node, publisher: Publisher, before: int) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    assert node.once()
    key = node.folder / "www.key"
    os.chown(key, OWNER, GROUP)
    key.chmod(before)
    renew(node, publisher)
    about = key.stat()
    assert (about.st_uid, about.st_gid, mode(key)) == (OWNER, GROUP, before)


@needs_root
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("www.key", 0o644, 0o640),
        ("www.key", 0o666, 0o660),
        ("www.key", 0o4755, 0o750),
        ("www.pem", 0o666, 0o664),
        ("www.pem", 0o600, 0o600),
        ("www.pem", 0o640, 0o640),
    ],
)
def test_what_is_replaced_never_becomes_wider_for_others(
    node: Node, publisher: Publisher, name: str, before: int, after: int
) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    assert node.once()
    os.chown(node.folder / name, -1, GROUP)
    (node.folder / name).chmod(before)
    renew(node, publisher)
    assert mode(node.folder / name) == after


def test_files_of_another_program_keep_their_owner_when_they_are_taken_over(node: Node, publisher: Publisher) -> None:
    old = pki.pair(age=30)
    for name, data in (("www.pem", old.fullchain), ("www.key", old.privkey)):
        (node.folder / name).write_bytes(data)
        (node.folder / name).chmod(0o640)
        if AS_ROOT:
            os.chown(node.folder / name, OWNER, GROUP)
    renew(node, publisher)
    for name in ("www.pem", "www.key"):
        about = (node.folder / name).stat()
        assert mode(node.folder / name) == 0o640
        assert not AS_ROOT or (about.st_uid, about.st_gid) == (OWNER, GROUP)


def test_an_access_list_outlives_a_renewal_and_none_is_inherited(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    assert node.once()
    key, chain = node.folder / "www.key", node.folder / "www.pem"
    wanted = access_list(user=GROUP, rights=4)
    try:
        os.setxattr(key, ACCESS_LIST, wanted)
        os.setxattr(node.folder, "system.posix_acl_default", access_list(user=OWNER, rights=6))
    except OSError:
        pytest.skip("no access lists on this file system")
    before = mode(chain)
    renew(node, publisher)
    assert os.getxattr(key, ACCESS_LIST) == wanted
    assert ACCESS_LIST not in os.listxattr(chain)
    assert mode(chain) == before


@pytest.mark.parametrize(("given", "comes_back"), [(0o640, 0o640), (0o440, 0o440), (0o644, 0o640), (0o600, 0o600)])
@pytest.mark.parametrize("noticed", ["at a poll", "at a start", "at a renewal"])
def test_a_key_that_was_deleted_comes_back_with_its_owner_group_and_mode(
    node: Node, publisher: Publisher, given: int, comes_back: int, noticed: str
) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    loop = node.start()
    assert loop.once()
    key = node.folder / "www.key"
    if AS_ROOT:
        os.chown(key, OWNER, GROUP)
    key.chmod(given)
    if noticed == "at a poll":
        assert loop._pass(sweep=False)
    elif noticed == "at a start":
        assert node.once()
    else:
        renew(node, publisher)
    key.unlink()
    assert node.once()
    about = key.stat()
    assert mode(key) == (comes_back if AS_ROOT or given != 0o644 else 0o600)
    assert not AS_ROOT or (about.st_uid, about.st_gid) == (OWNER, GROUP)
    assert mode(node.folder / "www.pem") == 0o644
    # What has come back is what it was: at the next time, too.
    key.unlink()
    assert node.once()
    assert mode(key) == (comes_back if AS_ROOT or given != 0o644 else 0o600)


def test_what_a_file_was_given_is_taken_back_by_giving_it_something_else(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    key = node.folder / "www.key"
    for given in (0o640, 0o600):
        assert node.once()
        key.chmod(given)
        assert node.once()
        key.unlink()
        assert node.once()
        assert mode(key) == given


def test_what_a_file_was_given_is_forgotten_when_its_pair_moves_or_is_no_longer_published(
    node: Node, publisher: Publisher
) -> None:
    for generation, name in enumerate(("www", "other"), 1):
        publisher.pair("cert:a", pki.pair(age=1 / generation), generation=generation, name=name)
        assert node.once()
        (node.folder / f"{name}.key").chmod(0o640)
        assert node.once()
    publisher.pair("cert:b", pki.pair(), name="third")
    publisher.prune("cert:a")
    assert node.once()
    assert node.start()._disk._memory.rights == {}


def test_a_deleted_file_s_access_list_comes_back(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    key, wanted = node.folder / "www.key", access_list(user=GROUP, rights=4)
    try:
        os.setxattr(key, ACCESS_LIST, wanted)
    except OSError:
        pytest.skip("no access lists on this file system")
    assert node.once()
    key.unlink()
    assert node.once()
    assert os.getxattr(key, ACCESS_LIST) == wanted


@pytest.mark.parametrize(
    ("name", "wide", "right"), [("www.key", 0o644, 0o600), ("www.key", 0o606, 0o600), ("www.pem", 0o666, 0o644)]
)
def test_rights_of_others_are_noticed_at_the_next_poll_and_taken_away(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture, name: str, wide: int, right: int
) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    (node.folder / name).chmod(wide)
    assert loop._pass(sweep=False)
    assert mode(node.folder / name) == right
    assert "others have rights" in caplog.text
    assert node.reload_count == 1


@needs_root
def test_a_group_that_was_singled_out_keeps_its_right_when_others_lose_theirs(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    os.chown(node.folder / "www.key", -1, GROUP)
    (node.folder / "www.key").chmod(0o644)
    assert node.once()
    assert mode(node.folder / "www.key") == 0o640


def test_a_right_that_the_operator_gave_to_a_group_is_no_trouble(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    (node.folder / "www.key").chmod(0o640)
    inode = (node.folder / "www.key").stat().st_ino
    assert loop._pass(sweep=False)
    assert loop._pass(sweep=False)
    assert (mode(node.folder / "www.key"), (node.folder / "www.key").stat().st_ino) == (0o640, inode)


@needs_root
@pytest.mark.parametrize("name", ["www.key", "www.pem"])
def test_a_file_that_is_a_mount_point_is_one_line_and_leaves_nothing(
    node: Node, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    old = pki.pair(age=30)
    publisher.pair("cert:a", old)
    assert node.once()
    (tmp_path / name).write_bytes((node.folder / name).read_bytes())
    if subprocess.run(["mount", "--bind", tmp_path / name, node.folder / name], check=False).returncode:  # noqa: S607
        pytest.skip("mounting needs root")
    try:
        publisher.pair("cert:a", pki.pair(), generation=2)
        loop = node.start()
        caplog.clear()
        for _ in range(4):
            assert not loop._pass(sweep=False)
        assert node.pair() == old
        assert node.files() == {"www.key", "www.pem"}
        (line,) = [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
        assert "mount its folder instead" in line.__dict__["cause"]
        assert line.exc_info is None
    finally:
        subprocess.run(["umount", node.folder / name], check=True)  # noqa: S607


def test_a_missing_folder_is_one_line(node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    publisher.publish("cert:a", pki.value(pki.pair(), node.folder / "missing"))
    loop = node.start()
    for _ in range(3):
        assert not loop._pass(sweep=False)
    (line,) = [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
    assert "does not exist" in line.__dict__["cause"]


@needs_root
@with_attributes
def test_in_a_folder_that_forbids_removal_files_do_not_pile_up_and_go_once_they_can(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    old = pki.pair(age=30)
    publisher.pair("cert:a", old)
    loop = node.start()
    assert loop.once()
    with attribute(node.folder, "a"):
        publisher.pair("cert:a", pki.pair(), generation=2)
        loop._pass(sweep=False)
        left = node.files()
        for _ in range(3):
            assert not loop._pass(sweep=False)
        assert node.files() == left
        assert node.pair() == old
        named = {record.__dict__["path"] for record in caplog.records if "cannot be removed" in record.message}
        assert named == {f"{node.folder}/{name}" for name in left - {"www.key", "www.pem"}}
        assert len([record for record in caplog.records if "cannot be removed" in record.message]) == len(named)
    # Also by the next process, which has it from the state.
    node.once()
    assert node.files() == {"www.key", "www.pem"}


def test_files_that_cannot_be_removed_are_named_once_by_each_process_and_go_once_they_can(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    assert node.once()
    unlink = os.unlink

    def refusing(name: str, *rest: Any, **more: Any) -> None:
        if str(name).startswith(".knit-"):
            raise PermissionError(1, "Operation not permitted")
        unlink(name, *rest, **more)

    renewed = pki.pair()
    publisher.pair("cert:a", renewed, generation=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", refusing)
        for _ in range(2):
            caplog.clear()
            loop = node.start()
            for _ in range(3):
                loop._pass(sweep=False)
            named = [record.__dict__["path"] for record in caplog.records if "cannot be removed" in record.message]
            assert sorted(named) == sorted(str(path) for path in node.folder.glob(".knit-*.old.tmp"))
            assert len(named) == 2
    assert node.pair() == renewed
    assert node.once()
    assert node.files() == {"www.key", "www.pem"}


def test_what_a_lost_journal_left_is_found_and_what_another_node_works_on_is_not_touched(
    node: Node, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    mark = "0123abcd-" + "0" * 16
    for name in (f".knit-{mark}-key.old.tmp", f".knit-{'f' * 16}-key.old.tmp", ".knit-notes.tmp", "other.tmp"):
        (node.folder / name).write_text("x")
    assert node.once()
    assert len(node.files()) == 6
    monkeypatch.setattr(deployment, "FORGOTTEN", -1.0)
    assert node.once()
    assert node.files() == {"www.key", "www.pem", ".knit-notes.tmp", "other.tmp"}


def test_a_certificate_that_is_no_longer_published_is_forgotten_and_said_so_once(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    publisher.pair("cert:a", pki.pair())
    publisher.pair("cert:b", pki.pair(), name="other")
    assert node.once()
    publisher.prune("cert:a")
    assert node.once()
    assert node.once()
    (line,) = [record for record in caplog.records if record.message.startswith("no longer published")]
    assert (line.__dict__["count"], line.__dict__["paths"]) == (1, f"{node.folder}/www.key")
    assert node.files() == {"www.key", "www.pem", "other.key", "other.pem"}
    assert node.reload_count == 1
    assert list(node.start()._disk.installed) == ["cert:b"]


def test_nothing_of_a_certificate_that_is_no_longer_published_stays_in_memory(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    publisher.pair("cert:b", pki.pair(), name="other")
    loop = node.start()
    for _ in range(2):
        assert loop.once()
    publisher.prune("cert:a")
    assert loop.once()
    assert {*loop._disk.installed, *loop._disk._signatures, *loop._watch._settled} == {"cert:b"}


def test_what_changes_while_the_files_are_compared_is_looked_at_again(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    disk, key = loop._disk, node.folder / "www.key"
    read = disk.read

    def and_then_damaged(paths: Sequence[str]) -> tuple[bytes, ...] | None:
        found = read(paths)
        key.write_bytes(b"damaged")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "read", and_then_damaged)
        assert disk.holds("cert:a")
    assert disk.drifted(["cert:a"]) == {"cert:a"}
    assert loop._pass(sweep=False)
    assert key.read_bytes() != b"damaged"


def test_between_the_two_renames_nothing_waits_for_a_disk(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    assert node.once()
    publisher.pair("cert:a", pki.pair(), generation=2)
    steps: list[str] = []
    real = {name: getattr(os, name) for name in ("rename", "fsync")}

    def noted(name: str) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            steps.append(name)
            return real[name](*args, **kwargs)

        return step

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, noted(name))
        assert node.once()
    first = steps.index("rename")
    assert steps[first : first + 3] == ["rename", "rename", "fsync"]


def test_nothing_is_renamed_or_noted_before_what_it_relies_on_is_on_disk(tmp_path: Path) -> None:
    state, steps = StateFolder(str(tmp_path / "state")), []
    keys, chains = tmp_path / "keys", tmp_path / "chains"
    for folder in (keys, chains):
        folder.mkdir()
    real = {name: getattr(os, name) for name in ("rename", "fsync", "write")}

    def noted(name: str) -> Callable[..., object]:
        def step(*args: Any, **kwargs: Any) -> object:
            steps.append((name, args[1] if name == "rename" else Path(f"/proc/self/fd/{args[0]}").readlink().name))
            return real[name](*args, **kwargs)

        return step

    disk = Disk(Folders((str(tmp_path),), str(tmp_path / "state")), state, nullcontext)
    for generation in (1, 2):
        bundle = pki.pair(age=1 / generation)
        outputs = outputs_of(bundle, cert_path=f"{chains}/www.pem", key_path=f"{keys}/www.key")
        files = tuple(output.file for output in outputs)
        digest = pair_digest(bundle.fullchain, bundle.privkey)
        record = Installed(sha256=digest, files=files, not_before=pki.NOW, not_after=pki.NOW, generation=generation)
        disk.recover()
        with pytest.MonkeyPatch.context() as patch:
            for name in real:
                patch.setattr(os, name, noted(name))
            steps.clear()
            assert disk.install([Placement(key="cert:a", outputs=outputs, record=record)]) == {}
    disk.close()
    state.close()
    synced = [("fsync", "keys"), ("fsync", "chains")]
    named = [(what, where.rpartition("-")[2]) for what, where in steps]
    assert named == [
        ("write", "state.log"),
        ("fsync", "key.new.tmp"),
        ("fsync", "chain.new.tmp"),
        *synced,
        ("write", "state.log"),
        ("fsync", "state.log"),
        ("rename", "www.key"),
        ("rename", "www.pem"),
        *synced,
        ("write", "state.log"),
        ("write", "state.log"),
    ]


def test_what_was_interrupted_is_on_disk_before_that_is_noted(tmp_path: Path) -> None:
    machine = crash(tmp_path / "machine", between_renames(tmp_path / "find"), "after")
    assert machine is not None
    steps: list[tuple[str, str]] = []
    real = {name: getattr(os, name) for name in ("rename", "fsync", "write")}

    def noted(name: str) -> Callable[..., object]:
        def step(*args: Any, **kwargs: Any) -> object:
            steps.append((name, "" if name == "rename" else Path(f"/proc/self/fd/{args[0]}").readlink().name))
            return real[name](*args, **kwargs)

        return step

    with machine.started() as disk, pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, noted(name))
        disk.recover()
    last = max(number for number, (name, _) in enumerate(steps) if name == "rename")
    assert steps[last + 1 : last + 3] == [("fsync", "certs"), ("write", "state.log")]


def test_a_temporary_file_of_this_node_that_nobody_knows_of_is_removed_at_once(
    node: Node, publisher: Publisher
) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.start()
    assert loop.once()
    for name in (loop._disk._memory.node, "0123abcd"):
        (node.folder / f".knit-{name}-{'0' * 16}-key.old.tmp").write_text("x")
    assert loop.once()
    assert node.files() == {"www.key", "www.pem", f".knit-0123abcd-{'0' * 16}-key.old.tmp"}


def test_what_a_pair_on_its_way_needs_is_not_tidied_away(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.install(OLD, 1)
    with machine.started() as disk:
        disk.recover()
        move = Move.of(machine.placement(0, NEW[0], 2), disk._memory.node)
        spare = machine.folder / move.parts[0].old
        spare.write_text("the old key")
        disk._memory.begin([move])
        disk.tidy()
        assert spare.exists()
        disk.recover()
        disk.tidy()
    assert machine.files() == NAMES


def owes_a_reload(disk: Disk) -> bool:
    """Asked anew each time, whatever was found before."""
    return owes(disk)


def test_a_pair_that_can_be_neither_finished_nor_put_back_sees_no_reload_until_it_is_whole(tmp_path: Path) -> None:
    machine, rename = Machine(tmp_path), os.rename
    machine.install(OLD, 1)

    def failing(source: str, target: str, **folders: int) -> None:
        if source.endswith(("chain.new.tmp", ".old.tmp")):
            raise OSError(16, "Device or resource busy")
        rename(source, target, **folders)

    with machine.started() as disk:
        disk.recover()
        assert owes_a_reload(disk)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "rename", failing)
            assert list(disk.install([machine.placement(0, NEW[0], 2)])) == ["cert:0"]
            assert machine.pairs_of(disk)[0] not in {OLD[0], NEW[0]}
            assert not owes_a_reload(disk)
            (failure,) = disk.install([machine.placement(0, NEW[0], 2)]).values()
            assert "still being put back" in str(failure)
            disk.recover()
            assert not owes_a_reload(disk)
        disk.recover()
        assert machine.pairs_of(disk)[0] in {OLD[0], NEW[0]}
        assert owes_a_reload(disk)
    assert machine.files() == NAMES


def test_a_first_pair_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.started() as disk:
        move = Move.of(machine.placement(0, NEW[0], 1), disk._memory.node)
        (machine.folder / move.parts[0].new).write_bytes(NEW[0].privkey)
        disk._memory.begin([move])
        disk._memory.proceed([move.found(False, False)])
        disk.recover()
    assert machine.files() == set()
