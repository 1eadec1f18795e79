"""A node killed at every single step that touches a file, then started again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from knit.core.digest import pair_digest
from knit.core.model.certificate import Bundle
from knit.core.outputs import ORDINARY, outputs_of, pair_in
from knit.core.placement import Installed, Placement
from knit.node.disk import Disk
from knit.node.folders import Folders
from knit.node.main import run
from knit.node.moves import Move
from knit.node.state import StateFolder
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, owes, settle, small_disk
from tests.integration.node.dying import killed

OLD = (pki.pair(age=30), pki.pair(age=31))
NEW = (pki.pair(age=2), pki.pair(age=3))
NAMES = {"n0.pem", "n0.key", "n1.pem", "n1.key"}


class Machine:
    """Files and state of a node, without the rest of it."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "certs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._state = str(home / "state")

    @contextmanager
    def started(self) -> Iterator[Disk]:
        state = StateFolder(self._state)
        disk = Disk(Folders((str(self.folder),), self._state), state, nullcontext)
        try:
            yield disk
        finally:
            disk.close()
            state.close()

    def install(self, pairs: tuple[Bundle, ...], generation: int) -> None:
        with self.started() as disk:
            disk.recover()
            assert disk.install([self.placement(n, bundle, generation) for n, bundle in enumerate(pairs)]) == {}

    def placement(self, number: int, bundle: Bundle, generation: int) -> Placement:
        key_path, cert_path = f"{self.folder}/n{number}.key", f"{self.folder}/n{number}.pem"
        outputs = outputs_of(bundle, cert_path=cert_path, key_path=key_path)
        record = Installed(
            sha256=pair_digest(bundle.fullchain, bundle.privkey),
            files=tuple(output.file for output in outputs),
            not_before=pki.NOW,
            not_after=pki.NOW,
            generation=generation,
        )
        return Placement(key=f"cert:{number}", outputs=outputs, record=record)

    def pairs(self) -> tuple[Bundle | None, Bundle | None]:
        with self.started() as disk:
            return self.pairs_of(disk)

    def pairs_of(self, disk: Disk) -> tuple[Bundle | None, Bundle | None]:
        first, second = (
            None if found is None else pair_in(ORDINARY.kinds, found)
            for found in (disk.read([f"{self.folder}/n{number}.{end}" for end in ("key", "pem")]) for number in (0, 1))
        )
        return first, second

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


def crash(home: Path, step: int, when: str, old: tuple[Bundle, ...] = OLD) -> Machine | None:
    """A machine whose change from old to new pairs died at this step; None when it went through."""
    machine = Machine(home)
    if old:
        machine.install(old, 1)
    with machine.started() as disk:
        disk.recover()
        settle(disk)
    return machine if killed(lambda: machine.install(NEW, 2), step, when) else None


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("old", [OLD, ()], ids=["replacing", "new"])
def test_killed_at_any_step_the_start_alone_makes_every_pair_whole(
    tmp_path: Path, when: str, old: tuple[Bundle, ...]
) -> None:
    halves = step = 0
    before = old or (None, None)
    while machine := crash(tmp_path / str(step := step + 1), step, when, old):
        halves += any(pair not in {before[n], NEW[n]} for n, pair in enumerate(machine.pairs()))
        with machine.started() as disk:
            disk.recover()
            pairs = machine.pairs_of(disk)
            for number, pair in enumerate(pairs):
                assert pair in {before[number], NEW[number]}
            assert owes(disk) or pairs == before
            known = disk.installed.get("cert:0")
            assert known is None or known.generation == (2 if pairs[0] == NEW[0] else 1)
        whole = {f"n{number}.{end}" for number, pair in enumerate(pairs) if pair for end in ("key", "pem")}
        assert machine.files() == whole
        machine.install(NEW, 2)
        assert machine.pairs() == NEW
        assert machine.files() == NAMES
    assert step > 15
    assert halves or not old, "the test must have met the moment between two renames"


def test_killed_again_at_any_step_of_making_whole_it_ends_whole(tmp_path: Path) -> None:
    moment = between_renames(tmp_path / "find")
    for step in range(1, 100):
        machine = crash(tmp_path / str(step), moment, "after")
        assert machine is not None

        def recover(machine: Machine = machine) -> None:
            with machine.started() as disk:
                disk.recover()

        again = killed(recover, step, "after")
        recover()
        assert machine.pairs() == NEW
        assert machine.files() == NAMES
        if not again:
            assert step > 10
            return


def between_renames(home: Path) -> int:
    step = 1
    while machine := crash(home / str(step), step, "after"):
        if machine.pairs()[0] not in {OLD[0], NEW[0]}:
            return step
        step += 1
    raise AssertionError("there is no such moment")


def test_a_pair_that_cannot_be_finished_is_put_back(tmp_path: Path) -> None:
    machine = crash(tmp_path / "machine", between_renames(tmp_path / "find"), "after")
    assert machine is not None
    for waiting in machine.folder.glob("*chain.new.tmp"):
        waiting.unlink()
    with machine.started() as disk:
        disk.recover()
    assert machine.pairs() == OLD
    assert machine.files() == NAMES


def test_what_a_full_disk_cannot_remember_is_made_whole_all_the_same(tmp_path: Path) -> None:
    moment = between_renames(tmp_path / "find")
    state = tmp_path / "machine/state"
    state.mkdir(parents=True)
    with small_disk(state) as leave:
        machine = crash(tmp_path / "machine", moment, "after")
        assert machine is not None
        leave(0)
        with machine.started() as disk:
            disk.recover()
            assert machine.pairs_of(disk) == NEW
            assert owes(disk)
            leave(50_000)
            disk.recover()
        with machine.started() as disk:
            assert owes(disk)
            assert machine.files() == NAMES


@pytest.mark.parametrize("step", [3, 12, 17, 20, 23, 26, 29])
def test_a_whole_node_killed_in_mid_pass_reloads_only_whole_pairs_at_its_next_start(
    node: Node, publisher: Publisher, tmp_path: Path, step: int
) -> None:
    seen = tmp_path / "seen"
    # What a reload sees is what a server would serve.
    node = node.with_settings(reload_cmd=f"cat {node.folder}/n*.* > {seen}; echo reloaded >> {node.reloads}")
    for generation, pairs in enumerate((OLD, NEW), 1):
        for number, bundle in enumerate(pairs):
            publisher.pair(f"cert:{number}", bundle, generation=generation, name=f"n{number}")
        if pairs is OLD:
            assert node.once()
    assert killed(lambda: run(node.settings, once=True), step, "after")
    assert node.reload_count == 1
    assert node.once()
    assert node.reload_count == 2
    assert seen.read_bytes() == b"".join(bundle.privkey + bundle.fullchain for bundle in NEW)
    assert node.files() == NAMES


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"phase":"moving"}', b'{"phase":"moving","moves":[{"key":"x"}]}']
)
def test_a_damaged_journal_does_not_stop_the_node(tmp_path: Path, damage: bytes) -> None:
    machine = Machine(tmp_path / "machine")
    machine.install(OLD, 1)
    (tmp_path / "machine/state/journal.json").write_bytes(damage)
    machine.install(NEW, 2)
    assert machine.pairs() == NEW


def test_a_first_pair_that_cannot_be_put_in_its_place_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, rename = Machine(tmp_path), os.rename

    def failing(source: str, target: str, **folders: int) -> None:
        if source.endswith("chain.new.tmp"):
            raise OSError(16, "Device or resource busy")
        rename(source, target, **folders)

    monkeypatch.setattr(os, "rename", failing)
    with machine.started() as disk:
        disk.recover()
        assert list(disk.install([machine.placement(0, NEW[0], 1)])) == ["cert:0"]
    assert machine.files() == set()


def test_temporary_files_that_an_earlier_try_has_left_are_in_nobody_s_way(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.install(OLD, 1)
    with machine.started() as disk:
        disk.recover()
        placement = machine.placement(0, NEW[0], 2)
        for part in Move.of(placement, disk._memory.node).parts:
            for name in (part.new, part.old):
                (machine.folder / name).write_text("of an earlier try")
        assert disk.install([placement]) == {}
    assert machine.pairs() == (NEW[0], OLD[1])
    assert machine.files() == NAMES


def test_when_the_second_rename_fails_the_first_is_taken_back(node: Node, publisher: Publisher) -> None:
    """As with a target that is a mount point of its own: only the rename itself shows it."""
    publisher.pair("cert:a", OLD[0])
    assert node.once()
    publisher.pair("cert:a", NEW[0], generation=2)
    failing = """
import os, sys
real = os.rename
def rename(source, target, **folders):
    if source.endswith("chain.new.tmp"):
        raise OSError(16, "Device or resource busy")
    real(source, target, **folders)
os.rename = rename
from knit.node.__main__ import main
sys.argv = ["node", "--once"]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", failing], env=node.environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "Device or resource busy" in done.stderr
    assert node.pair() == OLD[0]
    assert node.files() == {"www.pem", "www.key"}
    assert node.reload_count == 1
