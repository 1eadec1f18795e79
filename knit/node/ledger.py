"""What is owed, what failed and what was good, over the node's memory: the adapter of `ports.deploying`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime

from knit.core.model.deployed import Fault, Progress, Refusal
from knit.core.outputs import Output
from knit.core.placement import Installed, Placement
from knit.errors import KnitError, Refused, Transient
from knit.node.kept import Kept, KeptPair
from knit.node.memory import Memory

CHUNK = 50
"""Kept pairs in memory at a time."""

Install = Callable[[Sequence[Placement]], dict[str, KnitError]]


class Ledger:
    """`install` writes pairs as any other is written; `torn` tells which files can be neither finished nor put back."""

    def __init__(
        self,
        memory: Memory,
        kept: Kept,
        shield: Callable[[], AbstractContextManager[None]],
        install: Install,
        torn: Callable[[], set[str]],
    ) -> None:
        self._memory = memory
        self._kept = kept
        self._shield = shield
        self._install = install
        self._torn = torn

    def owed(self) -> Mapping[str, set[str]]:
        """By place; none of a place where a pair is torn."""
        found: dict[str, set[str]] = {}
        for key in self._memory.owed:
            found.setdefault(self._memory.progress.place(key), set()).add(key)
        for key in self._torn():
            place = self._place_of_torn(key)
            if place is None:
                return {}
            found.pop(place, None)
        return found

    def _place_of_torn(self, key: str) -> str | None:
        move = self._memory.moves.get(key)
        return None if move is None or move.progress is None else move.progress.leaf.place

    def installed(self, key: str) -> Installed | None:
        """What is in the key's files."""
        return self._memory.installed.get(key)

    def progress(self, key: str) -> Progress | None:
        """How far it has come."""
        return self._memory.progress.get(key)

    def refusals(self) -> Mapping[str, Refusal]:
        """What failed, by key."""
        return self._memory.progress.refusals

    def reloading(self, keys: Collection[str]) -> None:
        """The server is about to load these. Raises Transient when that cannot be written."""
        with self._shield():
            self._memory.note(self._memory.progress.attempt(keys))

    def reloaded(self, keys: Collection[str], at: datetime) -> None:
        """A reload of these has succeeded."""
        with self._shield():
            self._memory.note(self._memory.progress.reloaded(keys, at))

    def done(self, keys: Collection[str], at: datetime) -> None:
        """Nothing is owed for these any more."""
        with self._shield():
            self._memory.note(self._memory.progress.reloaded(keys, at))
            self._settle(keys)

    def served(self, key: str, at: datetime, on: str) -> None:
        """This very leaf was seen there: nothing is owed for it any more."""
        with self._shield():
            self._memory.note([self._memory.progress.served(key, at, on)])
            self._settle([key])

    def _settle(self, keys: Collection[str]) -> None:
        self._memory.done(keys)
        self.forgive([key for key in keys if self._has_recovered(key)])

    def _has_recovered(self, key: str) -> bool:
        there = self._memory.installed.get(key)
        return key in self._memory.progress.refusals and (there is None or not self._was_put_back(key, there))

    def refuse(self, keys: Collection[str], fault: Fault) -> None:
        """What is in the files of these now has failed; of a pair that was put back nothing is remembered."""
        found = {}
        for key in keys:
            there = self._memory.installed.get(key)
            if there is not None and not self._was_put_back(key, there):
                found[key] = Refusal(fault=fault, identity=there.identity, generation=there.generation)
        with self._shield():
            self._memory.note(self._memory.progress.refuse(found))

    def _was_put_back(self, key: str, there: Installed) -> bool:
        """Whether this is the good pair of before, and not what was published after the one that has failed."""
        refusal = self._memory.progress.refusals.get(key)
        if refusal is None or not refusal.fault.rolled_back or refusal.identity == there.identity:
            return False
        with suppress(OSError, Transient):
            pair = self._kept.get(key)
            return pair is not None and pair.record.identity == there.identity
        return False

    def amend(self, keys: Collection[str], *, error: str, output: str) -> None:
        """More is known of why these have failed."""
        amended: dict[Fault, Fault] = {}
        found = {}
        for key in keys:
            refusal = self._memory.progress.refusals.get(key)
            if refusal is not None:
                fault = amended.setdefault(refusal.fault, replace(refusal.fault, error=error, output=output))
                found[key] = replace(refusal, fault=fault)
        with self._shield():
            self._memory.note(self._memory.progress.refuse(found))

    def forgive(self, keys: Collection[str]) -> None:
        """What failed of these is nobody's concern any more."""
        if entries := self._memory.progress.forgive(keys):
            with self._shield():
                self._memory.note(entries)

    def served_until(self, keys: Collection[str]) -> datetime | None:
        """When the first of the pairs expires that the server has loaded for these, or is to load."""
        return min(filter(None, map(self._until, keys)), default=None)

    def _until(self, key: str) -> datetime | None:
        pair = self._pair(key)
        there = self._memory.installed.get(key) if pair is None else pair.record
        return None if there is None else there.not_after

    def can_go_back(self, key: str, now: datetime) -> bool:
        """Whether another pair is kept for the key's files, which was good, and has not expired."""
        pair = self._pair(key)
        return pair is not None and pair.record.not_after > now

    def _pair(self, key: str) -> KeptPair | None:
        there = self._memory.installed.get(key)
        with suppress(OSError, Transient):
            pair = self._kept.get(key)
            if pair is not None and there is not None and pair.record.paths == there.paths:
                return None if pair.record.identity == there.identity else pair
        return None

    def go_back(self, keys: Collection[str]) -> dict[str, KnitError]:
        """Put the kept pairs of these back; returns why some are not. Raises Transient."""
        failures: dict[str, KnitError] = {}
        ordered = sorted(keys)
        for start in range(0, len(ordered), CHUNK):
            placements = []
            for key in ordered[start : start + CHUNK]:
                pair = self._pair(key)
                if pair is None:
                    failures[key] = Refused("no other pair is kept for its files")
                else:
                    placements.append(self._placement(pair))
            if placements:
                failures |= self._install(placements)
        return failures

    def _placement(self, pair: KeptPair) -> Placement:
        both = zip(pair.record.files, pair.contents, strict=True)
        return Placement(
            key=pair.key,
            outputs=tuple(Output(path=file.path, content=content, mode=file.mode) for file, content in both),
            record=pair.record,
            progress=self._again(pair),
            known=self._memory.installed.get(pair.key),
            paired=True,
            owed=pair.key in self._memory.progress.attempted,
        )

    def _again(self, pair: KeptPair) -> Progress:
        """As it was kept; its place may have got another name meanwhile."""
        place = self._memory.progress.place(pair.key)
        return replace(pair.progress, leaf=replace(pair.progress.leaf, place=place))
