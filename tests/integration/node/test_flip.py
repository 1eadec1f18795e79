"""A certificate's folder that is replaced as a whole: old or new for every reader, whenever the node dies."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from knit.core.digest import contents_digest
from knit.core.model.certificate import Bundle
from knit.core.outputs import Output
from knit.core.placement import Installed, Placement
from knit.node import files
from tests.integration.node import pki
from tests.integration.node.dying import killed
from tests.integration.node.test_crashes import Machine

KEY = "cert:0"
OLD, NEW = pki.pair(age=30), pki.pair(age=2)
NAMES = ("key.pem", "chain.pem", "both.pem", "store.p12")


def placement(machine: Machine, bundle: Bundle, *, flip: bool = True, known: Installed | None = None) -> Placement:
    """Four files; the last is no PEM."""
    contents = (bundle.privkey, bundle.fullchain, bundle.privkey + bundle.fullchain, b"store of " + bundle.privkey)
    outputs = tuple(
        Output(path=f"{machine.folder}/www/{name}", content=content, mode=0o644 if name == "chain.pem" else 0o600)
        for name, content in zip(NAMES, contents, strict=True)
    )
    record = Installed(
        sha256=contents_digest(contents),
        files=tuple(output.file for output in outputs),
        not_before=pki.NOW,
        not_after=pki.NOW,
        made_of="0a" * 32,
    )
    return Placement(key=KEY, outputs=outputs, record=record, known=known, flip=flip, create_dirs=True)


def install(machine: Machine, bundle: Bundle, *, flip: bool = True) -> None:
    with machine.started() as disk:
        disk.recover()
        known = disk.installed.get(KEY)
        assert disk.install([placement(machine, bundle, flip=flip, known=known)]) == {}


def found(machine: Machine) -> dict[str, bytes]:
    folder = machine.folder / "www"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def contents(machine: Machine, bundle: Bundle) -> dict[str, bytes]:
    return dict(zip(NAMES, (one.content for one in placement(machine, bundle).outputs), strict=True))


def leavings(machine: Machine) -> list[str]:
    """What lies beside the certificate's folder; but for one version that it leads to, and the one before."""
    beside = sorted(path.name for path in machine.folder.iterdir() if path.name != "www")
    versions = [name for name in beside if name.endswith(".files")]
    link = machine.folder / "www"
    if link.is_symlink():
        assert str(link.readlink()) in versions
    return [name for name in beside if name not in versions] + versions[2 if link.is_symlink() else 1 :]


STARTS = ["new", "link", "folder"]


def begin(machine: Machine, start: str) -> dict[str, bytes]:
    if start != "new":
        install(machine, OLD, flip=start == "link")
        with machine.started() as disk:
            disk.recover()
            disk.memory.done(disk.installed)
    return found(machine)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("start", STARTS)
def test_killed_at_any_step_it_is_whole_old_or_whole_new_and_leaves_nothing(
    tmp_path: Path, start: str, when: str
) -> None:
    step, died = 0, True
    while died:
        step += 1
        machine = Machine(tmp_path / str(step))
        old = begin(machine, start)
        new = contents(machine, NEW)
        died = killed(lambda: install(machine, NEW), step, when)  # noqa: B023 -- at once
        # In place of a plain folder there is nothing for a moment.
        assert found(machine) in ([old, new, {}] if start == "folder" else [old, new])
        with machine.started() as disk:
            disk.recover()
            now = found(machine)
            assert now in (old, new)
            assert disk.memory.owed or now == old
            assert KEY not in disk.installed or disk.holds(KEY)
        assert leavings(machine) == []
        install(machine, NEW)
        assert found(machine) == new
        assert leavings(machine) == []
    assert step > 15


@pytest.mark.parametrize("start", STARTS)
def test_killed_again_at_any_step_of_making_whole_it_ends_whole(tmp_path: Path, start: str) -> None:
    def crashed(home: Path, step: int) -> tuple[Machine, bool]:
        machine = Machine(home)
        begin(machine, start)
        return machine, killed(lambda: install(machine, NEW), step, "after")

    first = 8
    while True:
        machine, died = crashed(tmp_path / f"find-{first}", first)
        if not died:
            break
        if found(machine) not in (contents(machine, OLD), {}) or (start == "folder" and not found(machine)):
            break
        first += 1
    for step in range(1, 100):
        machine, _ = crashed(tmp_path / str(step), first)

        def recover(machine: Machine = machine) -> None:
            with machine.started() as disk:
                disk.recover()

        again = killed(recover, step, "after")
        recover()
        assert found(machine) in (contents(machine, NEW), contents(machine, OLD) if start != "new" else {})
        assert leavings(machine) == []
        if not again:
            return


@pytest.mark.parametrize("start", ["new", "link", "folder"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_whatever_fails_the_old_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, error: int
) -> None:
    for call in ("mkdir", "symlink", "rename", "fchmod", "fsync"):
        machine = Machine(tmp_path / call)
        old = begin(machine, start)
        with machine.started() as disk, monkeypatch.context() as patch:
            disk.recover()
            real = getattr(os, call)

            def failing(*args: object, real: object = real, **more: object) -> object:
                where = more.get("dir_fd", more.get("src_dir_fd", args[0]))
                path = str(Path(f"/proc/self/fd/{where}").readlink()) if isinstance(where, int) else str(where)
                if str(machine.folder) in path and not path.endswith("state"):  # noqa: B023 -- at once
                    raise OSError(error, os.strerror(error))
                return real(*args, **more)  # type: ignore[operator]

            patch.setattr(os, call, failing)
            known = disk.installed.get(KEY)
            failures = disk.install([placement(machine, NEW, known=known)])
            patch.undo()
            disk.recover()
            if call == "fsync" and not failures:
                continue  # Only a folder's own: file systems that cannot tell are trusted.
            assert KEY in failures
            assert found(machine) == old
            assert leavings(machine) == []


def test_the_version_before_is_kept_until_the_next_one(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    bundles = [pki.pair(age=age) for age in (30, 20, 10)]
    for number, bundle in enumerate(bundles):
        install(machine, bundle)
        current = str((machine.folder / "www").readlink())
        kept = [path for path in machine.folder.glob(".knit-*.files") if path.name != current]
        before = [(path / "chain.pem").read_bytes() for path in kept]
        assert before == [bundle.fullchain for bundle in bundles[max(number - 1, 0) : number]]


def test_from_flip_to_pair_and_back_nothing_is_lost(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for number, flip in enumerate((True, False, False, True, False)):
        bundle = pki.pair(age=30 - number)
        install(machine, bundle, flip=flip)
        assert found(machine) == contents(machine, bundle)
        assert leavings(machine) == []


@pytest.mark.parametrize("kind", ["link", "dangling", "version link", "file", "pipe", "stranger's file", "subfolder"])
def test_what_is_not_its_own_is_in_its_way_and_stays(tmp_path: Path, kind: str) -> None:
    machine = Machine(tmp_path / "node")
    elsewhere, www = tmp_path / "elsewhere", machine.folder / "www"
    elsewhere.mkdir()
    (elsewhere / "chain.pem").write_text("precious")
    match kind:
        case "link":
            www.symlink_to(elsewhere)
        case "dangling":
            www.symlink_to("nowhere")
        case "version link":
            www.symlink_to(f"../.knit-{'a' * 8}-{'b' * 16}-{'c' * 16}.files")
        case "file":
            www.write_text("precious")
        case "pipe":
            os.mkfifo(www)
        case "stranger's file":
            www.mkdir()
            (www / "chain.pem").write_text("no certificate")
        case "subfolder":
            (www / "more").mkdir(parents=True)
    before = sorted(path.name for path in machine.folder.iterdir())
    with machine.started() as disk:
        disk.recover()
        failures = disk.install([placement(machine, NEW)])
        assert "Refused" in type(failures[KEY]).__name__
    assert sorted(path.name for path in machine.folder.iterdir()) == before
    assert (elsewhere / "chain.pem").read_text() == "precious"
    assert [path.name for path in elsewhere.iterdir()] == ["chain.pem"]


def opened_pair(folder: Path) -> tuple[bytes, bytes]:
    """As a careful server reads: the folder once, then both files in it."""
    while True:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            key, chain = files.read(opened, "key.pem"), files.read(opened, "chain.pem")
        finally:
            os.close(opened)
        # A reader that was overtaken twice finds its version gone, and looks again.
        if key is not None and chain is not None:
            return key, chain


@pytest.mark.parametrize("flip", [True, False], ids=["flip", "put back, or at layout pair again"])
def test_who_opens_the_folder_once_never_sees_a_mixed_pair(tmp_path: Path, flip: bool) -> None:
    machine = Machine(tmp_path)
    pairs = [OLD, NEW]
    install(machine, OLD)
    whole = {(one.privkey, one.fullchain) for one in pairs}
    stop, mixed, reads = threading.Event(), 0, 0

    def read() -> None:
        nonlocal mixed, reads
        while not stop.is_set():
            mixed += opened_pair(machine.folder / "www") not in whole
            reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with machine.started() as disk:
            for number in range(200):
                assert disk.install([placement(machine, pairs[number % 2], known=disk.installed[KEY], flip=flip)]) == {}
    finally:
        stop.set()
        reader.join()
    assert mixed == 0
    assert reads > 100


def test_owners_and_rights_of_the_old_files_are_those_of_the_new_ones(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install(machine, OLD)
    (machine.folder / "www/key.pem").chmod(0o640)
    (machine.folder / "www").chmod(0o750)
    install(machine, NEW)
    assert (machine.folder / "www/key.pem").stat().st_mode & 0o777 == 0o640
    assert (machine.folder / "www").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("flip", [True, False])
def test_missing_folders_are_made_only_where_that_is_said(tmp_path: Path, flip: bool) -> None:
    machine = Machine(tmp_path)
    one = placement(machine, NEW, flip=flip)
    deep = replace(one, outputs=tuple(replace(o, path=o.path.replace("/www/", "/a/b/www/")) for o in one.outputs))
    with machine.started() as disk:
        disk.recover()
        failures = disk.install([replace(deep, create_dirs=False)])
        assert "does not exist" in str(failures[KEY])
        assert list(machine.folder.iterdir()) == []
        assert disk.install([deep]) == {}
    assert {path.name for path in (machine.folder / "a/b/www").iterdir()} == set(NAMES)
    assert (machine.folder / "a/b").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("roots", [True, False])
def test_no_folder_is_made_through_a_link_or_where_nothing_may_be_written(tmp_path: Path, roots: bool) -> None:
    machine = Machine(tmp_path / "node")
    outside = tmp_path / "outside"
    outside.mkdir()
    (machine.folder / "dangling").symlink_to(outside / "made")
    one = placement(machine, NEW, flip=False)
    with machine.started() as disk:
        disk.recover()
        if not roots:
            disk._folders._roots = None
        for way in ("/dangling/", "/dangling/more/"):
            there = replace(one, outputs=tuple(replace(o, path=o.path.replace("/www/", way)) for o in one.outputs))
            assert KEY in disk.install([there])
        never = f"/etc/cron.d/knit-test-{os.getpid()}/"
        there = replace(one, outputs=tuple(replace(o, path=never + Path(o.path).name) for o in one.outputs))
        assert KEY in disk.install([there])
    assert list(outside.iterdir()) == []
    assert not Path(never).exists()


def test_a_folder_for_keys_alone_is_closed_to_others(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    one = placement(machine, NEW, flip=False)
    keys = [replace(o, path=o.path.replace("/www/", "/keys/")) if o.mode == 0o600 else o for o in one.outputs]
    with machine.started() as disk:
        disk.recover()
        assert disk.install([replace(one, outputs=tuple(keys))]) == {}
    assert (machine.folder / "keys").stat().st_mode & 0o777 == 0o700
    assert (machine.folder / "www").stat().st_mode & 0o777 == 0o755


def test_a_lost_version_is_made_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install(machine, OLD)
    for path in (machine.folder / "www").iterdir():
        path.unlink()
    with machine.started() as disk:
        disk.recover()
        assert not disk.holds(KEY)
    install(machine, OLD)
    assert found(machine) == contents(machine, OLD)
    assert leavings(machine) == []


@pytest.mark.parametrize("flip", [True, False])
def test_the_label_of_the_old_file_is_the_new_one_s(tmp_path: Path, flip: bool) -> None:
    machine, label = Machine(tmp_path), b"system_u:object_r:cert_t:s0\0"
    install(machine, OLD, flip=flip)
    try:
        os.setxattr(machine.folder / "www/key.pem", "security.selinux", label)
    except OSError:
        pytest.skip("labels need root, and a file system that has them")
    install(machine, NEW, flip=flip)
    assert found(machine) == contents(machine, NEW)
    assert os.getxattr(machine.folder / "www/key.pem", "security.selinux") == label
