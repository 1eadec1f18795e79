"""A node's first sync, and one change, beside the bare creation of the same files: made, put on disk, renamed.

Alone among the figures these need a disk: what is put there costs nothing in memory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure
from bench.many import published
from bench.timing import median
from knit.core.model.places import NodeFile, Place
from knit.flows.watch import Watch
from knit.node.disk import Disk
from knit.node.folders import Folders
from knit.node.inspector import Inspector
from knit.node.recipes import LocalRecipes
from knit.node.state import StateFolder
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from knit.valkey.reader import ValkeyReader
from rig.valkey import Valkey

ROUNDS = {10: 9, 1_000: 5, 10_000: 3}
"""By the number of pairs: what takes a moment only swings most."""
COUNTS = tuple(ROUNDS)
GROWTH = 11
OF_BARE = 4.0
DISK = Path("/var/tmp")  # noqa: S108 -- its folders are made by mkdtemp


def measure() -> list[Figure]:
    """Each size with its own bare files, taken right after it."""
    figures: list[Figure] = []
    spent = {}
    for count in COUNTS:
        rounds = [_round(count) for _ in range(ROUNDS[count])]
        sync, change, bare, bare_change = (median(one) for one in zip(*rounds, strict=True))
        spent[count] = sync
        goal = OF_BARE if count == COUNTS[-1] else None
        figures.append(Figure.of_times(f"first sync of a node, {count:,} pairs / the bare files", sync, bare, goal))
        figures.append(
            Figure.of_times(f"one change of a node with {count:,} pairs / the bare files", change, bare_change)
        )
    many, some = spent[COUNTS[2]], spent[COUNTS[1]]
    figures.append(Figure.of_times("first sync, 10,000 pairs / 1,000 pairs", many, some, GROWTH))
    return figures


def _round(count: int) -> tuple[float, float, float, float]:
    with _home() as home:
        return (*_synced(home, count), _bare(home, count), _bare(home, 1))


NAME = "knit-bench-sync"


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="knit-bench-", dir=DISK))
    try:
        yield home
    finally:
        shutil.rmtree(home)


def _synced(home: Path, count: int) -> tuple[float, float]:
    """Seconds for the first sync, and for one change after it."""
    folder = home / "tls"
    folder.mkdir()
    valkey = Valkey()
    valkey.start()
    state = StateFolder(str(home / "state"))
    link = connect(valkey.url, name=NAME)
    try:
        published(valkey.url, count, str(folder))
        source, disk = ValkeyReader(link.site, Layout()), Disk(Folders((str(folder),), "/nowhere"), state, nullcontext)
        watch = Watch(
            source=source,
            disk=disk,
            ledger=disk.ledger,
            node=NodeFile(name=NAME, places={NAME: Place(name=NAME)}),
            recipes=LocalRecipes(()),
            roots=None,
            keeps=False,
            inspector=Inspector({}),
            clock=lambda: datetime.now(UTC),
        )
        sync = _timed(watch, sweep=True, written=count)
        (folder / "n0.key").unlink()
        return sync, _timed(watch, sweep=False, written=1)
    finally:
        link.close()
        state.close()
        valkey.close()


def _timed(watch: Watch, *, sweep: bool, written: int) -> float:
    began = time.monotonic()
    report = watch.run(sweep=sweep)
    spent = time.monotonic() - began
    assert len(report.written) == written
    return spent


def _bare(home: Path, count: int) -> float:
    files = [path.read_bytes() for path in (home / "tls/n1.key", home / "tls/n1.crt")]
    target = Path(tempfile.mkdtemp(dir=home))
    began = time.monotonic()
    for number in range(count):
        for end, data in zip(("key", "crt"), files, strict=True):
            new = target / "new"
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.rename(target / f"n{number}.{end}")
    return time.monotonic() - began
