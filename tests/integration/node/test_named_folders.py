"""Folders that the node file names: written to without being listed, and never led astray."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from knit.errors import Elsewhere, KnitError, Refused, Transient
from knit.node.folders import Folders


def real(folders: Folders, folder: Path | str) -> str:
    opened = folders.open(str(folder))
    try:
        return str(Path(f"/proc/self/fd/{opened}").readlink())
    finally:
        os.close(opened)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    for name in ("roots/a", "named/deep", "outside", "state"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("named")
    return tmp_path


def folders(scene: Path, *, roots: bool, named: str = "named") -> Folders:
    allowed = (str(scene / "roots"),) if roots else None
    return Folders(allowed, str(scene / "state"), [str(scene / named)])


@pytest.mark.parametrize("roots", [True, False])
def test_they_need_no_root_and_give_leave_to_nothing_else(scene: Path, roots: bool) -> None:
    found = folders(scene, roots=roots)
    assert real(found, scene / "named") == str(scene / "named")
    assert real(found, scene / "named/deep") == str(scene / "named/deep")
    assert real(found, scene / "roots/a") == str(scene / "roots/a")
    if roots:
        for elsewhere in ("outside", "named2", "link"):
            with pytest.raises(Elsewhere, match="KNIT_WATCH_ROOTS"):
                found.open(str(scene / elsewhere))


@pytest.mark.parametrize("roots", [True, False])
def test_a_link_is_followed_once_and_no_link_below_it_ever(scene: Path, roots: bool) -> None:
    found = folders(scene, roots=roots, named="link")
    assert real(found, scene / "link") == str(scene / "named")
    (scene / "named/trap").symlink_to(scene / "outside")
    with pytest.raises(Refused, match="symbolic link"):
        found.open(str(scene / "link/trap"))
    (scene / "link").unlink()
    (scene / "link").symlink_to("outside")
    assert real(found, scene / "link") == str(scene / "named"), "where it was found at the start"
    (scene / "named").rename(scene / "aside")
    with pytest.raises(Transient, match="does not exist"):
        found.open(str(scene / "link"))
    (scene / "named").symlink_to("outside")
    with pytest.raises(Refused, match="symbolic link"):
        found.open(str(scene / "link"))


def test_where_they_end_is_judged(scene: Path) -> None:
    (scene / ".ssh").mkdir()
    (scene / "inner").symlink_to(".ssh")
    with folders(scene, roots=True, named="inner").visit() as visit, pytest.raises(Refused, match="never writes"):
        visit.place(str(scene / "inner/www.crt"))
    with folders(scene, roots=True, named="state").visit() as visit, pytest.raises(Refused, match="never writes"):
        visit.place(str(scene / "state/www.crt"))


def test_a_folder_that_is_swapped_for_a_link_all_the_time_leads_nowhere(scene: Path) -> None:
    found = folders(scene, roots=True)
    inner, aside, trap = scene / "named/deep", scene / "named/aside", scene / "named/trap"
    trap.symlink_to(scene / "outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):
                inner.rename(aside)
                trap.rename(inner)
                inner.rename(trap)
                aside.rename(inner)

    racer = threading.Thread(target=swap)
    racer.start()
    ends = set()
    try:
        for _ in range(800):
            with suppress(KnitError):
                ends.add(real(found, inner))
    finally:
        stop.set()
        racer.join()
    assert ends
    assert str(scene / "outside") not in ends
