"""The node's files as the watch flow sees them: what is installed, what has drifted, and a way to install."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from knit.core.digest import contents_digest
from knit.core.model.deployed import Progress
from knit.core.placement import Installed, Placement
from knit.errors import KnitError, Refused, Transient
from knit.node import files
from knit.node.deployment import Deployment
from knit.node.folders import Folders
from knit.node.kept import Kept
from knit.node.ledger import Ledger
from knit.node.memory import Memory
from knit.node.state import StateFolder
from knit.node.traits import Traits, is_too_wide, narrow


class Shield(Protocol):
    """Holds a stop of the process back until a step that must not be cut in two is over."""

    def __call__(self) -> AbstractContextManager[None]: ...


WIDE = "others have rights to files of a pair"


class Disk:
    """Files, memory and journal of one node.

    `rights` tell, by key, what was wrong with what others may do with its files, until somebody takes note of it.
    """

    def __init__(self, folders: Folders, state_folder: StateFolder, shield: Shield) -> None:
        self._folders = folders
        self._shield = shield
        self._memory = Memory(state_folder)
        self._kept = Kept(state_folder)
        self._signatures: dict[str, int] = {}
        self.rights: dict[str, tuple[str, str]] = {}
        self.memory = self._memory
        self._deployment = Deployment(folders, self._memory, self._kept)
        self.ledger = Ledger(self._memory, self._kept, shield, self.install, self._torn)

    def close(self) -> None:
        """Let go of what is open."""
        self._memory.close()

    @property
    def installed(self) -> Mapping[str, Installed]:
        """What this node has installed, by Valkey key."""
        return self._memory.installed

    @property
    def revision(self) -> int | None:
        """The change feed's revision up to which everything has been looked at."""
        return self._memory.revision

    def recover(self) -> None:
        """Make whole what was left half done. Raises Transient when that is not yet possible."""
        with self._shield():
            self._deployment.recover()

    def tidy(self) -> None:
        """Remove what earlier runs, whose journal was lost, left beside the files that are installed."""
        records = self._memory.installed
        folders = {posixpath.dirname(path) for key in records for path in records.paths(key)}
        with self._shield():
            if not self._memory.moves:
                self._deployment.tidy(folders)
            with suppress(OSError, Transient):
                self._kept.tidy(records)

    def drifted(self, keys: Iterable[str]) -> set[str]:
        """Those whose files are perhaps no longer as installed: a call of stat for each file."""
        installed, signatures = self._memory.installed, self._signatures
        return {key for key in keys if signatures.get(key, 0) != _signature(installed.paths(key))}

    def holds(self, key: str) -> bool:
        """Whether the key's files are as installed, byte for byte; what others may do with them is set right."""
        record = self._memory.installed[key]
        # Look at the key's file last: what is found of it is what is reported.
        given = [self._narrowed(key, path, mode) for path, mode in reversed(record.files)]
        with self._shield():
            self._memory.given({path: traits for found in given for path, traits in found.items()})
        # Taken before the bytes are read, so that a change in between shows up as drift.
        signature = _signature(record.paths)
        with suppress(Refused):
            found = self.read(record.paths)
            if found is not None and contents_digest(found) == record.sha256:
                self._signatures[key] = signature
                return True
        self._signatures[key] = 0
        return False

    def place(self, path: str) -> object:
        """What tells this file from every other one, however its folder is spelled, linked or mounted."""
        folder, _, name = path.rpartition("/")
        try:
            about = os.stat(folder or "/")  # noqa: PTH116 -- twice for each pair, when something is new
        except OSError:
            return path
        return about.st_dev, about.st_ino, name

    def read(self, paths: Sequence[str]) -> tuple[bytes, ...] | None:
        """The bytes in these files; None when one of them is missing, unreadable or no plain file."""
        with suppress(Transient), self._folders.visit() as visit:
            found = [files.read(*visit.place(path)) for path in paths]
            whole = tuple(content for content in found if content is not None)
            return whole if len(whole) == len(found) else None
        return None

    def install(self, placements: Sequence[Placement]) -> dict[str, KnitError]:
        """Write these pairs; returns why some were not. Raises Transient when the state cannot be written."""
        with self._shield():
            failures = self._deployment.install(placements)
        for placement in placements:
            if placement.key not in failures:
                stamps = self._deployment.stamps[placement.key]
                self._signatures[placement.key] = _signature(placement.record.paths, stamps)
        return failures

    def adopt(self, key: str, record: Installed, progress: Progress | None = None) -> None:
        """Take files that are as published for installed. Unless they were before, a reload is owed for them."""
        known = self._memory.installed.get(key)
        with self._shield():
            if known is None:
                self._memory.discover(key, record, progress)
                return
            if progress is not None and progress != self._memory.progress.get(key):
                self._memory.note([self._memory.progress.put(key, progress)])
            if known != record:
                self._memory.put([(key, record)], loaded=known.is_as(record) and key not in self._memory.unloaded)

    def forget(self, keys: Collection[str]) -> None:
        """These are no longer published: their files stay, and are nobody's."""
        with self._shield():
            self._memory.drop(keys)
            with suppress(OSError, Transient):
                self._kept.forget(keys)
        for key in keys:
            self._signatures.pop(key, None)

    def delete(self, key: str) -> bool:
        """Remove the files of a certificate that nothing needs any more; not those that somebody has changed.

        Whether they are gone, or going. Raises Transient when the state cannot be written.
        """
        if not self.holds(key):
            return False
        with self._shield():
            self._deployment.delete(key)
        self._signatures.pop(key, None)
        return True

    def remember(self, revision: int | None) -> None:
        """Everything up to this revision has been looked at. Raises Transient when that cannot be written."""
        with self._shield():
            self._memory.reached(revision)
            self._memory.ready()

    def _torn(self) -> set[str]:
        return self._deployment.torn

    def _narrowed(self, key: str, path: str, mode: int) -> dict[str, Traits | None]:
        """The file's rights as they are to be remembered, without what others may not have; nothing of no file."""
        with suppress(KnitError), self._folders.visit() as visit:
            folder, name = visit.place(path)
            try:
                about = files.about(folder, name)
                if about is None or not stat.S_ISREG(about.st_mode):
                    return {}
                if is_too_wide(about, mode):
                    narrow(folder, name, about, mode)
                    self.rights[key] = (WIDE, "whatever the default rights do not give is taken away")
                return {path: Traits.of(folder, name, about, mode).unusual(mode)}
            except OSError as error:
                self.rights[key] = (WIDE, f"this cannot be taken away ({error.strerror}): {path!r}")
        return {}


def _signature(paths: tuple[str, ...], made: Sequence[files.Stamp] | None = None) -> int:
    """One number that changes whenever one of the files is replaced, written to or given other rights.

    1 when one is missing, 0 when they are not those that were `made`.
    """
    try:
        stats = [os.stat(path, follow_symlinks=False) for path in paths]  # noqa: PTH116 -- at each poll
    except OSError:
        return 1
    if made is not None and [files.stamp(one) for one in stats] != made:
        return 0
    return hash(tuple((*files.stamp(one), one.st_ctime_ns) for one in stats))
