"""What a reader sees while files are replaced, in both layouts; and a folder that is swapped for a link all the time.

A reader opens the folder once and then key and chain in it, as a careful server does at its start.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from bench.figures import Figure
from knit.core.digest import contents_digest
from knit.core.outputs import Output
from knit.core.placement import Installed, Placement
from knit.node import files
from knit.node.disk import Disk
from knit.node.folders import Folders
from knit.node.state import StateFolder

DEPLOYMENTS = 10_000
SWAPS = 100_000
KEY = "certs:www"
DAY = datetime(2026, 1, 1, tzinfo=UTC)
BODIES = [b"A" * 1500, b"B" * 1500]


def measure() -> list[Figure]:
    """Mixed pairs that were seen in each layout, and files that got out of the roots."""
    return [_mixed(flip=True), _mixed(flip=False), *(_escaped(flip=flip) for flip in (True, False))]


def _mixed(*, flip: bool) -> Figure:
    with _home() as home, _disk(home) as disk:
        _install(disk, home / "certs/www", 0, flip=flip)
        with _beside(_read, home / "certs/www") as answer:
            for number in range(DEPLOYMENTS):
                _install(disk, home / "certs/www", number, flip=flip)
        reads, mixed = answer()
    layout = "flip" if flip else "pair"
    what = f"mixed pairs seen in {DEPLOYMENTS:,} deployments, layout {layout} / looks at both files"
    return Figure(what=what, ours=f"{mixed:,}", baseline=f"{reads:,}", number=mixed / reads, goal=0.0 if flip else None)


def _escaped(*, flip: bool) -> Figure:
    with _home() as home, _disk(home) as disk:
        (home / "outside").mkdir()
        (home / "certs/inner").mkdir()
        (home / "certs/trap").symlink_to(home / "outside")
        written, number = 0, 0
        with _beside(_swap, home / "certs") as answer:
            while not answer.ready():
                number += 1
                written += _try(disk, home / "certs/inner/www" if flip else home / "certs/inner", number, flip=flip)
        swaps, _ = answer()
        out = sum(len(names) for _, *both in os.walk(home / "outside") for names in both)
    layout = "flip" if flip else "pair"
    what = f"files outside the roots after {swaps:,} swaps of a folder for a link, layout {layout} / deployments"
    return Figure(what=what, ours=f"{out:,}", baseline=f"{written:,} of {number:,}", number=float(out), goal=0.0)


def _placement(folder: Path, number: int, *, flip: bool, known: Installed | None, make: bool) -> Placement:
    body = BODIES[number % 2]
    outputs = tuple(
        Output(path=f"{folder}/{name}", content=body, mode=mode) for name, mode in (("key", 0o600), ("chain", 0o644))
    )
    record = Installed(
        sha256=contents_digest([body, body]),
        files=tuple(output.file for output in outputs),
        not_before=DAY,
        not_after=DAY,
        made_of="0a" * 32,
    )
    return Placement(key=KEY, outputs=outputs, record=record, known=known, flip=flip, create_dirs=make)


def _install(disk: Disk, folder: Path, number: int, *, flip: bool) -> None:
    failures = disk.install([_placement(folder, number, flip=flip, known=disk.installed.get(KEY), make=True)])
    assert not failures, failures


def _try(disk: Disk, folder: Path, number: int, *, flip: bool) -> bool:
    disk.recover()
    return not disk.install([_placement(folder, number, flip=flip, known=disk.installed.get(KEY), make=False)])


def _read(folder: Path, stop: Event, answer: Connection) -> None:
    reads = mixed = 0
    while not stop.is_set():
        with suppress(OSError):
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                pair = [files.read(opened, name) for name in ("key", "chain")]
            finally:
                os.close(opened)
            # A version that is gone by now is opened anew, as by any reader that finds a file missing.
            if None not in pair:
                reads += 1
                mixed += pair[0] != pair[1]
    answer.send((reads, mixed))


def _swap(folder: Path, stop: Event, answer: Connection) -> None:
    inner, aside, trap = folder / "inner", folder / "aside", folder / "trap"
    del stop
    for _ in range(SWAPS):
        inner.rename(aside)
        trap.rename(inner)
        inner.rename(trap)
        aside.rename(inner)
    answer.send((SWAPS, 0))


class _Answer:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ready(self) -> bool:
        return self._connection.poll()

    def __call__(self) -> tuple[int, int]:
        first, second = self._connection.recv()
        return first, second


@contextmanager
def _beside(work: Callable[[Path, Event, Connection], None], folder: Path) -> Iterator[_Answer]:
    """Another process at work on this folder."""
    context = get_context("fork")
    stop = context.Event()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(folder, stop, theirs))
    process.start()
    try:
        yield _Answer(ours)
        stop.set()
        process.join()
    finally:
        process.kill()
        process.join()


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="knit-bench-layouts-"))
    (home / "certs").mkdir()
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def _disk(home: Path) -> Iterator[Disk]:
    state = StateFolder(str(home / "state"))
    disk = Disk(Folders((str(home / "certs"),), str(home / "state")), state, nullcontext)
    try:
        yield disk
    finally:
        disk.close()
        state.close()
