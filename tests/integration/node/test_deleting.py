"""Files of a certificate that was removed: all gone, whenever the node dies, and none of anybody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.node.conftest import attribute, has_attributes
from tests.integration.node.dying import killed
from tests.integration.node.test_crashes import Machine
from tests.integration.node.test_flip import KEY, NEW, OLD, found, install

LAYOUTS = pytest.mark.parametrize("flip", [True, False])


def started(home: Path, *, flip: bool) -> Machine:
    machine = Machine(home)
    for bundle in (OLD, NEW):
        install(machine, bundle, flip=flip)
    (machine.folder / "neighbour").write_text("stays")
    return machine


def delete(machine: Machine) -> bool:
    with machine.started() as disk:
        disk.recover()
        return disk.delete(KEY)


def is_clean(machine: Machine) -> bool:
    beside = {path.name for path in machine.folder.iterdir()}
    # A folder that was made for files of a pair stays: who made it is not remembered.
    return beside - {"www"} == {"neighbour"} and found(machine) == {}


@LAYOUTS
def test_all_files_and_versions_go_and_nothing_else(tmp_path: Path, flip: bool) -> None:
    machine = started(tmp_path, flip=flip)
    assert delete(machine)
    assert is_clean(machine)
    with machine.started() as disk:
        assert KEY not in disk.installed


@LAYOUTS
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_all_or_none_of_them_go(tmp_path: Path, flip: bool, when: str) -> None:
    step, died, kept, gone = 0, True, 0, 0
    while died:
        step += 1
        machine = started(tmp_path / str(step), flip=flip)
        before = found(machine)
        died = killed(lambda: delete(machine), step, when)  # noqa: B023 -- at once
        with machine.started() as disk:
            disk.recover()
            if KEY in disk.installed:
                kept += 1
                assert found(machine) == before
                assert disk.holds(KEY)
            else:
                gone += 1
                assert is_clean(machine)
    assert gone > 3
    assert kept


@LAYOUTS
def test_files_that_somebody_has_changed_stay(tmp_path: Path, flip: bool) -> None:
    machine = started(tmp_path, flip=flip)
    (machine.folder / "www/key.pem").write_bytes(OLD.privkey)
    before = found(machine)
    assert not delete(machine)
    assert found(machine) == before


def test_what_cannot_be_removed_yet_is_tried_again_also_after_a_start(tmp_path: Path) -> None:
    machine = started(tmp_path, flip=False)
    if not has_attributes(machine.folder):
        pytest.skip("no file system here lets us set attributes")
    with attribute(machine.folder / "www", "i"):
        assert delete(machine)
        assert found(machine)
    with machine.started() as disk:
        disk.recover()
    assert is_clean(machine)
