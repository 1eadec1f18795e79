"""What a node tells of its certificates, from what it remembers: for its reports and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from knit.core.deploying import Server, deployed
from knit.core.model.deployed import Deployed, Failure, Leaf, Progress, Step
from knit.errors import KnitError
from knit.node.memory import Memory

UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""The end of a certificate of which nothing was read."""

Complaint = tuple[str, datetime]
"""Why a published value is not written, and since when."""


class NodeFacts:
    """The port `Facts` of `report.py`. `waits` tells what a place's next step waits for."""

    def __init__(
        self, memory: Memory, servers: Mapping[str, Server], waits: Callable[[str], str | None], began: datetime
    ) -> None:
        self._memory = memory
        self._servers = servers
        self._waits = waits
        self._began = began
        self._complaints: dict[str, Complaint] = {}

    def complain(self, failures: Mapping[str, KnitError], now: datetime) -> None:
        """These published values cannot be written; nothing is known against others."""
        texts = {key: str(error) for key, error in failures.items()}
        before = self._complaints
        self._complaints = {
            key: before[key] if before.get(key, ("",))[0] == text else (text, now) for key, text in texts.items()
        }

    def version(self) -> object:
        """See the port."""
        waits = tuple(self._waits(name) for name in self._servers)
        return self._memory.changes, waits, tuple(self._complaints.items())

    def marks(self) -> Iterator[tuple[str, int]]:
        """See the port."""
        memory, progress = self._memory, self._memory.progress
        waits = {name: self._waits(name) for name in self._servers}
        any_waits = any(waits.values())
        for key in memory.installed:
            owed = key in memory.unloaded
            about = (waits.get(progress.place(key)) if owed and any_waits else None, self._complaints.get(key))
            known = memory.installed.packed(key), progress.packed(key), progress.refusals.get(key)
            yield key, hash((*known, owed, *about))
        for key in self._complaints.keys() - memory.installed.keys():
            yield key, hash(self._complaints[key])

    def deployed(self, keys: Iterable[str]) -> Iterator[Deployed]:
        """See the port."""
        for key in keys:
            yield self._deployed(key) if key in self._memory.installed else self._refused(key)

    def everything(self) -> Iterator[Deployed]:
        """What is known of each."""
        return self.deployed(key for key, _ in self.marks())

    def _deployed(self, key: str) -> Deployed:
        memory = self._memory
        progress = memory.progress.get(key) or self._of_before(key)
        refusal = memory.progress.refusals.get(key)
        server = self._server(progress.leaf.place)
        found = deployed(
            key,
            memory.installed[key],
            progress,
            probed=server is not None and server.place.probe is not None,
            refusal=refusal,
            waits=self._waits(progress.leaf.place) if key in memory.unloaded else None,
        )
        if refusal is None and key in self._complaints:
            return replace(found, failure=self._failure(key))
        return found

    def _server(self, place: str) -> Server | None:
        """Of a node with one place, also what an earlier knit installed is there."""
        return next(iter(self._servers.values())) if len(self._servers) == 1 else self._servers.get(place)

    def _of_before(self, key: str) -> Progress:
        """An earlier knit installed it, and remembered no times: what is done was done by the start of this one."""
        done = None if key in self._memory.unloaded else self._began
        return Progress(leaf=Leaf(place=""), written_at=self._began, reloaded_at=done)

    def _refused(self, key: str) -> Deployed:
        """It is published, and this node has nothing of it."""
        return Deployed(
            key=key,
            place="",
            name=key,
            cert_id=None,
            generation=None,
            serial=None,
            fingerprint=None,
            not_after=UNKNOWN,
            published_at=None,
            written_at=None,
            reloaded_at=None,
            served_at=None,
            failure=self._failure(key),
        )

    def _failure(self, key: str) -> Failure:
        error, at = self._complaints[key]
        kept = key in self._memory.installed
        return Failure(step=Step.WRITE, error=error, output="", at=at, next_try=None, rolled_back=kept, generation=None)
