"""A node with 10,000 pairs and nothing to do: one poll, its bytes on the wire, and the whole process at rest.

The original's way reads the index, gets every value and hashes both files of each pair at every poll.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis

from bench import processes
from bench.figures import Figure
from bench.many import MANY, published, written
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
from rig.installation import BIN, Installation
from rig.lifeline import temporary_directory
from rig.process import wait_until
from rig.valkey import Valkey

NAME = "knit-bench-watch"
FEW = 10
ROUNDS = 5
POLLS = 20
REST = 125.0
"""Seconds: two polls at the default interval."""
SETTLE = 5.0
STILL = 0.01
"""Seconds of processor time within SETTLE seconds: three polls."""
START = 180.0


@dataclass(slots=True, kw_only=True)
class Node:
    """A node whose files are all in place, in this process; closing `opened` ends it and its Valkey."""

    valkey: Valkey
    folder: Path
    watch: Watch
    opened: ExitStack

    @classmethod
    def of(cls, count: int) -> Node:
        """With so many pairs published and on disk, and looked at once."""
        with ExitStack() as opened:
            valkey = Valkey()
            opened.callback(valkey.close)
            valkey.start()
            folder = temporary_directory("watch") / "tls"
            published(valkey.url, count, str(folder))
            written(folder, count)
            state = StateFolder(str(temporary_directory("state")))
            opened.callback(state.close)
            link = connect(valkey.url, name=NAME)
            opened.callback(link.close)
            source = ValkeyReader(link.site, Layout())
            opened.callback(source.close)
            disk = Disk(Folders((str(folder),), "/nowhere"), state, nullcontext)
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
            report = watch.run(sweep=True)
            assert report.looked_at == count
            assert not report.complaints
            return cls(valkey=valkey, folder=folder, watch=watch, opened=opened.pop_all())

    def poll(self) -> float:
        """Seconds for a poll that finds nothing new."""
        began = time.monotonic()
        for _ in range(POLLS):
            self.watch.run(sweep=False)
        return (time.monotonic() - began) / POLLS

    def bytes_of_a_poll(self) -> float:
        """On the wire, both ways, as the server counts them."""
        self.poll()
        before = self._bytes()
        self.poll()
        return (self._bytes() - before) / POLLS

    def sweep(self) -> float:
        """Seconds for a look at everything that finds nothing new."""
        began = time.monotonic()
        self.watch.run(sweep=True)
        return time.monotonic() - began

    def original(self) -> float:
        """Seconds for the original's poll."""
        began = time.monotonic()
        with redis.Redis.from_url(self.valkey.url) as client:
            for key in client.smembers(Layout().index):
                value = json.loads(client.get(key) or b"{}")
                read = hashlib.sha256()
                for path in (value["cert_path"], value["key_path"]):
                    read.update(Path(path).read_bytes())
        return time.monotonic() - began

    def _bytes(self) -> int:
        with self.valkey.client() as client:
            mine = [one for one in client.client_list() if one["lib-name"] == NAME]
        return sum(int(one["tot-net-in"]) + int(one["tot-net-out"]) for one in mine)


def measure() -> list[Figure]:
    """The rounds alternate; then the real process looks after the same files."""
    few = Node.of(FEW)
    with few.opened:
        few_bytes = few.bytes_of_a_poll()
        with _resting(few) as pid:
            few_memory = _memory(pid, FEW)
    many = Node.of(MANY)
    with many.opened:
        spent = [(many.poll(), many.original()) for _ in range(ROUNDS)]
        ours, theirs = (median([turn[which] for turn in spent]) for which in (0, 1))
        return [
            Figure.of_times(f"idle poll of `watch`, {MANY:,} pairs / the original's way", ours, theirs, 1 / 300),
            _bytes(many.bytes_of_a_poll(), few_bytes),
            Figure.of_times(
                f"a look at everything (every 10 minutes), {MANY:,} pairs / the original's poll", many.sweep(), theirs
            ),
            few_memory,
            *_at_rest(many),
        ]


def _bytes(many: float, few: float) -> Figure:
    return Figure(
        what=f"bytes on the wire for an idle poll, {MANY:,} pairs / {FEW} pairs",
        ours=f"{many:.0f} bytes",
        baseline=f"{few:.0f} bytes",
        number=many / few,
        goal=1,
    )


@contextmanager
def _resting(node: Node) -> Iterator[int]:
    """The process id of a real `knit watch` after its first look at everything."""
    state = temporary_directory("state")
    settings = {
        "KNIT_VALKEY_URL": node.valkey.url,
        "KNIT_WATCH_ROOTS": str(node.folder),
        "KNIT_STATE_DIR": str(state),
    }
    with Installation(settings=settings) as installation:
        process = installation.run("watch", [str(BIN / "knit"), "watch"])
        wait_until((state / "state.log").exists, "the node has begun to look at everything", seconds=START)
        wait_until(lambda: _is_still(process.pid), "the node has looked at everything", seconds=START)
        yield process.pid


def _is_still(pid: int) -> bool:
    """Whether it does next to nothing: the machine may be too busy to say how long a look takes."""
    before = processes.fine_cpu(pid)
    time.sleep(SETTLE)
    return processes.fine_cpu(pid) - before < STILL


def _memory(pid: int, count: int) -> Figure:
    mib = processes.resident(pid) / 2**20
    what = f"`knit watch` at rest, {count:,} pairs: memory"
    return Figure(what=what, ours=f"{mib:.1f} MiB", number=mib, goal=34, unit="MiB")


def _at_rest(node: Node) -> list[Figure]:
    with _resting(node) as pid:
        cpu, began = processes.fine_cpu(pid), time.monotonic()
        time.sleep(REST)
        share = (processes.fine_cpu(pid) - cpu) / (time.monotonic() - began) * 100
        memory = _memory(pid, MANY)
    what = f"`knit watch` at rest, {MANY:,} pairs: CPU between two looks at everything"
    return [memory, Figure(what=what, ours=f"{share:.3f} %", number=share, goal=0.1, unit="%")]
