"""A certificate that is one to four files: written in their order, whole after any death, looked after like any."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from knit.core.digest import contents_digest
from knit.core.model.certificate import Bundle
from knit.core.model.places import Content, FileSpec, Place
from knit.core.outputs import Making, Output, Recipe
from knit.core.placement import Installed, Placement
from knit.flows.watch import Watch
from knit.node.disk import Disk
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, owes, settle
from tests.integration.node.dying import killed
from tests.integration.node.test_crashes import Machine

KEY = "cert:0"
COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 4])
OLD, NEW = pki.pair(age=30), pki.pair(age=2)


def made(folder: Path, bundle: Bundle, count: int) -> tuple[Output, ...]:
    """Key, chain, both in one, the chain once more; of one file it is both."""
    whole = bundle.privkey + bundle.fullchain
    contents = {"key": bundle.privkey, "pem": bundle.fullchain, "both": whole, "again": bundle.fullchain}
    names = ["both"] if count == 1 else [*contents][:count]
    modes = {"key": 0o600, "both": 0o600}
    return tuple(Output(path=f"{folder}/n.{n}", content=contents[n], mode=modes.get(n, 0o644)) for n in names)


def recipe(folder: Path, count: int) -> Recipe:
    """What `made` makes, as a place says it."""
    kinds = {"key": Content.PRIVKEY, "pem": Content.FULLCHAIN, "both": Content.COMBINED, "again": Content.FULLCHAIN}
    names = {1: ["both"], 2: ["key", "pem"], 3: ["key", "both", "pem"], 4: ["key", "both", "pem", "again"]}[count]
    files = tuple(FileSpec(content=kinds[name], path=f"{folder}/n.{name}") for name in names)
    return Recipe(place=Place(name="here", files=files), makings=(Making(),) * len(files))


def install(machine: Machine, outputs: tuple[Output, ...], generation: int) -> None:
    record = Installed(
        sha256=contents_digest([output.content for output in outputs]),
        files=tuple(output.file for output in outputs),
        not_before=pki.NOW,
        not_after=pki.NOW,
        generation=generation,
    )
    with machine.started() as disk:
        disk.recover()
        assert disk.install([Placement(key=KEY, outputs=outputs, record=record)]) == {}


def found(outputs: tuple[Output, ...]) -> list[bytes | None]:
    paths = [Path(output.path) for output in outputs]
    return [path.read_bytes() if path.exists() else None for path in paths]


def contents(outputs: tuple[Output, ...]) -> list[bytes | None]:
    return [output.content for output in outputs]


def is_begun_in_order(now: list[bytes | None], old: list[bytes | None], new: list[bytes | None]) -> bool:
    return any(now == new[:done] + old[done:] for done in range(len(new) + 1))


def check(disk: Disk, outputs: tuple[Output, ...], old: list[bytes | None]) -> None:
    now = found(outputs)
    assert now in (old, contents(outputs))
    assert owes(disk) or now == old
    known = disk.installed.get(KEY)
    assert known is None or known.generation == (2 if now == contents(outputs) else 1)
    assert known is None or disk.holds(KEY)
    assert known is None or known.paths == tuple(output.path for output in outputs)


@COUNTS
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fresh", [False, True], ids=["replacing", "new"])
def test_killed_at_any_step_the_start_makes_all_files_old_or_all_new(
    tmp_path: Path, count: int, when: str, fresh: bool
) -> None:
    between, step, died = 0, 0, True
    while died:
        step += 1
        machine = Machine(tmp_path / str(step))
        outputs, before = made(machine.folder, NEW, count), made(machine.folder, OLD, count)
        if not fresh:
            install(machine, before, 1)
            with machine.started() as disk:
                disk.recover()
                settle(disk)
        old = found(outputs)
        died = killed(lambda: install(machine, outputs, 2), step, when)  # noqa: B023 -- at once
        assert is_begun_in_order(found(outputs), old, contents(outputs))
        between += found(outputs) not in (old, contents(outputs))
        with machine.started() as disk:
            disk.recover()
            check(disk, outputs, old)
        assert machine.files() == {Path(output.path).name for output in outputs if Path(output.path).exists()}
        install(machine, outputs, 2)
        assert found(outputs) == contents(outputs)
    assert between >= count - 1, "the test must have met each moment between two renames"


@COUNTS
def test_where_the_last_new_file_is_lost_all_old_ones_come_back(tmp_path: Path, count: int) -> None:
    machine, step, renamed = Machine(tmp_path / "0"), 0, max(count - 1, 1)
    while True:
        step += 1
        machine = Machine(tmp_path / str(step))
        outputs, before = made(machine.folder, NEW, count), made(machine.folder, OLD, count)
        install(machine, before, 1)
        assert killed(lambda: install(machine, outputs, 2), step, "after")  # noqa: B023 -- at once
        if found(outputs)[:renamed] == contents(outputs)[:renamed]:
            break
    waiting = list(machine.folder.glob("*chain.new.tmp"))
    assert len(waiting) == count - renamed
    if waiting:
        waiting[0].unlink()
    with machine.started() as disk:
        disk.recover()
    assert found(outputs) == contents(before if waiting else outputs)
    assert machine.files() == {Path(output.path).name for output in outputs}


@COUNTS
def test_a_whole_node_installs_looks_after_and_replaces_them(
    node: Node, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(Watch, "_recipe", lambda *_: recipe(node.folder, count))
    publisher.pair("cert:a", OLD)
    assert node.once()
    outputs = made(node.folder, OLD, count)
    assert found(outputs) == contents(outputs)
    for output in outputs:
        assert Path(output.path).stat().st_mode & 0o777 == output.mode
    assert node.once()
    assert node.reload_count == 1
    for changes, output in enumerate(outputs, 2):
        Path(output.path).unlink()
        assert node.once()
        assert found(outputs) == contents(outputs)
        assert node.reload_count == changes
    Path(outputs[-1].path).chmod(0o666)
    assert node.once()
    assert Path(outputs[-1].path).stat().st_mode & 0o006 == outputs[-1].mode & 0o006
    publisher.pair("cert:a", NEW, generation=2)
    assert node.once()
    assert found(outputs) == contents(made(node.folder, NEW, count))
    assert len(node.files()) == count
    assert node.reload_count == 2 + len(outputs)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("there", [False, True])
def test_an_output_that_names_owner_and_group_gets_them(tmp_path: Path, there: bool) -> None:
    machine = Machine(tmp_path)
    outputs = tuple(replace(output, mode=0o640) for output in made(machine.folder, OLD, 2))
    if there:
        install(machine, outputs, 1)
    install(machine, (replace(outputs[0], content=NEW.privkey, owner=1234, group=4321), outputs[1]), 2)
    about, other = (Path(output.path).stat() for output in outputs)
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (1234, 4321, 0o640)
    assert (other.st_uid, other.st_gid) == (os.geteuid(), os.getegid())
