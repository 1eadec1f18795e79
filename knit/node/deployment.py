"""Puts pairs in their places so that whatever dies, and whenever, each is whole again before any reload.

    journal "staging" -> new files beside their targets, old ones given a second name -> journal "moving"
    -> rename key, rename chain, for each pair -> state (reload owed) -> second names removed -> journal removed

While the journal says "staging" nothing has moved: the new files are removed. While it says "moving" every new file
is whole on disk: moving goes on, and only where it cannot go on are the old files put back.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from knit.core.placement import Installed, Placement
from knit.errors import KnitError, Refused, Transient
from knit.node import files
from knit.node.folders import Folders
from knit.node.state import StateFolder, record_in, record_out

log = logging.getLogger(__name__)

JOURNAL = "journal.json"
CHAIN_MODE = 0o644
KEY_MODE = 0o600

Record = Callable[[Mapping[str, Installed]], None]
"""Remembers, durably, what has been installed and that a reload is owed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a pair. `mark` is the part of its temporary names that is its own."""

    path: str
    sha256: str
    mark: str
    had_old: bool = False

    @property
    def new(self) -> str:
        """Where the new bytes wait."""
        return f".knit-{self.mark}.new.tmp"

    @property
    def old(self) -> str:
        """The old file's second name."""
        return f".knit-{self.mark}.old.tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One pair on its way: key first, then chain."""

    key: str
    parts: tuple[Part, ...]
    record: Installed

    @classmethod
    def of(cls, placement: Placement) -> Move:
        """With temporary names that nothing else has."""
        mark = secrets.token_hex(8)
        pair, record = placement.bundle, placement.record
        parts = (
            Part(path=record.key_path, sha256=_sha256(pair.privkey), mark=f"{mark}-key"),
            Part(path=record.cert_path, sha256=_sha256(pair.fullchain), mark=f"{mark}-chain"),
        )
        return cls(key=placement.key, parts=parts, record=record)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Move:
        """Raises KeyError, TypeError or ValueError."""
        parts = tuple(Part(**part) for part in document["parts"])
        return cls(key=document["key"], parts=parts, record=record_in(document["record"]))

    def to_json(self) -> dict[str, object]:
        """For the journal."""
        return {"key": self.key, "parts": [asdict(part) for part in self.parts], "record": record_out(self.record)}


class Deployment:
    """Moves pairs into place, with the journal in the state folder."""

    def __init__(self, folders: Folders, state: StateFolder, record: Record) -> None:
        self._folders = folders
        self._state = state
        self._record = record
        self._open = True

    def recover(self) -> None:
        """Make whole what an earlier run left half done. Raises Transient when that is not yet possible."""
        if not self._open:
            return
        document = self._state.read(JOURNAL)
        if document is not None:
            self._settle(document)
        self._open = False

    def install(self, placements: Sequence[Placement]) -> dict[str, KnitError]:
        """Put all these pairs in their places; returns why some of them were not.

        Raises Transient when the state folder cannot be written; then `recover` must come next.
        """
        moves = {placement.key: Move.of(placement) for placement in placements}
        self._open = True
        self._journal("staging", list(moves.values()))
        failures: dict[str, KnitError] = {}
        staged = [move for placement in placements if (move := self._staged(placement, moves[placement.key], failures))]
        self._journal("moving", staged)
        moved = [move for move in staged if self._moved(move, failures)]
        self._close(moved, staged)
        return failures

    def _journal(self, phase: str, moves: Sequence[Move]) -> None:
        self._state.write(JOURNAL, {"v": 1, "phase": phase, "moves": [move.to_json() for move in moves]})

    def _close(self, moved: Sequence[Move], all_moves: Sequence[Move]) -> None:
        if moved:
            self._record({move.key: move.record for move in moved})
        for move in all_moves:
            self._clean(move)
        self._state.forget(JOURNAL)
        self._open = False

    def _staged(self, placement: Placement, move: Move, failures: dict[str, KnitError]) -> Move | None:
        contents = ((placement.bundle.privkey, KEY_MODE), (placement.bundle.fullchain, CHAIN_MODE))
        try:
            pairs = zip(move.parts, contents, strict=True)
            staged = (self._stage(placement, part, data, mode) for part, (data, mode) in pairs)
            return replace(move, parts=tuple(staged))
        except KnitError as error:
            failures[move.key] = error
            self._clean(move)
            return None

    def _stage(self, placement: Placement, part: Part, data: bytes, mode: int) -> Part:
        with self._folders.parent(part.path) as (folder, name):
            try:
                _check(placement, part.path, folder, name)
                files.create(folder, part.new, [data], mode)
                had_old = files.keep(folder, name, part.old)
                os.fsync(folder)
            except OSError as error:
                raise Transient(f"cannot write {part.path!r}: {error.strerror}") from None
        return replace(part, had_old=had_old)

    def _moved(self, move: Move, failures: dict[str, KnitError]) -> bool:
        try:
            for part in move.parts:
                self._move(part)
        except KnitError as error:
            failures[move.key] = error
            self._restore(move)
            return False
        return True

    def _move(self, part: Part) -> None:
        with self._folders.parent(part.path) as (folder, name):
            try:
                files.replace(folder, part.new, name)
                os.fsync(folder)
            except OSError as error:
                raise Transient(f"cannot replace {part.path!r}: {error.strerror}") from None

    def _restore(self, move: Move) -> None:
        for part in move.parts:
            try:
                self._put_back(part)
            except (OSError, KnitError):
                log.exception("the old file cannot be put back", extra={"key": move.key, "path": part.path})

    def _put_back(self, part: Part) -> None:
        with self._folders.parent(part.path) as (folder, name):
            if part.had_old:
                if files.read(folder, part.old) is not None:
                    files.replace(folder, part.old, name)
            elif _holds(folder, name, part.sha256):
                # There was no file before, and a lone half of a pair is worse than none.
                files.remove(folder, name)
            os.fsync(folder)

    def _clean(self, move: Move) -> None:
        for part in move.parts:
            try:
                with self._folders.parent(part.path) as (folder, _):
                    files.remove(folder, part.new)
                    files.remove(folder, part.old)
            except (OSError, KnitError) as error:
                log.warning("a temporary file stays behind", extra={"path": part.path, "cause": str(error)})

    def _settle(self, document: Mapping[str, Any]) -> None:
        try:
            moving = document["phase"] == "moving"
            moves = [Move.from_json(move) for move in document["moves"]]
        except (KeyError, TypeError, ValueError):
            log.warning("the deployment journal is damaged, comparing with the files instead")
            self._state.forget(JOURNAL)
            return
        moved = [move for move in moves if self._finished(move)] if moving else []
        log.info("an interrupted deployment was made whole", extra={"finished": len(moved), "pairs": len(moves)})
        self._close(moved, moves)

    def _finished(self, move: Move) -> bool:
        try:
            steps = [self._missing_step(part) for part in move.parts]
        except KnitError as error:
            log.warning("a deployment cannot be finished", extra={"key": move.key, "cause": str(error)})
            steps = ["lost"]
        if "lost" in steps:
            self._restore(move)
            return False
        waiting = tuple(part for part, step in zip(move.parts, steps, strict=True) if step == "move")
        return self._moved(replace(move, parts=waiting), {}) or self._undone(move)

    def _undone(self, move: Move) -> bool:
        self._restore(move)
        return False

    def _missing_step(self, part: Part) -> str:
        with self._folders.parent(part.path) as (folder, name):
            if _holds(folder, part.new, part.sha256):
                return "move"
            return "none" if _holds(folder, name, part.sha256) else "lost"


def _check(placement: Placement, path: str, folder: int, name: str) -> None:
    """Raise Refused when something lies there that knit does not replace."""
    there = files.about(folder, name)
    if there is None:
        return
    if not stat.S_ISREG(there.st_mode):
        raise Refused(f"{path!r} is not a plain file: knit replaces no links, folders, pipes or devices")
    if not placement.may_replace(path, lambda: files.read(folder, name)):
        raise Refused(
            f"{path!r} was there before and is no certificate or key in PEM, or an authority's: "
            "move it away if the pair belongs there"
        )


def _holds(folder: int, name: str, sha256: str) -> bool:
    data = files.read(folder, name)
    return data is not None and _sha256(data) == sha256


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
