"""The node's files as the watch flow sees them: what is installed, what has drifted, and a way to install."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from knit.core.digest import pair_digest
from knit.core.model import Bundle
from knit.core.placement import Installed, Placement
from knit.errors import KnitError, Transient
from knit.node import files
from knit.node.deployment import Deployment
from knit.node.folders import Folders
from knit.node.state import StateFolder


class Shield(Protocol):
    """Holds a stop of the process back until a step that must not be cut in two is over."""

    def __call__(self) -> AbstractContextManager[None]: ...


class Disk:
    """Files, state and journal of one node."""

    def __init__(self, folders: Folders, state_folder: StateFolder, shield: Shield) -> None:
        self._folders = folders
        self._state_folder = state_folder
        self._shield = shield
        self._state = state_folder.load()
        self._saved = True
        self._signatures: dict[str, int] = {}
        self._deployment = Deployment(folders, state_folder, self._deployed)

    @property
    def installed(self) -> Mapping[str, Installed]:
        """What this node has installed, by Valkey key."""
        return self._state.installed

    @property
    def revision(self) -> int | None:
        """The change feed's revision up to which everything has been looked at."""
        return self._state.revision

    @property
    def reload_owed(self) -> bool:
        """Whether files were written that no successful reload has followed."""
        return self._state.reload_owed

    def recover(self) -> None:
        """Make whole what was left half done. Raises Transient when that is not yet possible."""
        with self._shield():
            self._deployment.recover()

    def drifted(self, keys: Iterable[str]) -> set[str]:
        """Those whose files are perhaps no longer as installed: two calls of stat for each."""
        installed, signatures = self._state.installed, self._signatures
        return {key for key in keys if signatures.get(key, 0) != _signature(installed.paths(key))}

    def holds(self, key: str) -> bool:
        """Whether the key's files are as installed, byte for byte."""
        record = self._state.installed[key]
        # Taken before the bytes are read, so that a change in between shows up as drift.
        signature = _signature((record.cert_path, record.key_path))
        found = self.read(record.cert_path, record.key_path)
        same = found is not None and pair_digest(found.fullchain, found.privkey) == record.sha256
        self._signatures[key] = signature if same else 0
        return same

    def read(self, cert_path: str, key_path: str) -> Bundle | None:
        """The pair on disk; None when one of the two is missing, unreadable or no plain file."""
        fullchain, privkey = self._read(cert_path), self._read(key_path)
        return None if fullchain is None or privkey is None else Bundle(fullchain=fullchain, privkey=privkey)

    def install(self, placements: Sequence[Placement]) -> dict[str, KnitError]:
        """Write these pairs; returns why some were not. Raises Transient when the state cannot be written."""
        with self._shield():
            return self._deployment.install(placements)

    def adopt(self, key: str, record: Installed) -> None:
        """Take files that are as published for installed."""
        if self._state.installed.get(key) != record:
            self._state.installed[key] = record
            self._saved = False

    def remember(self, revision: int | None) -> None:
        """Everything up to this revision has been looked at; keep what `adopt` told."""
        if self._saved and self._state.revision == revision:
            return
        self._state.revision = revision
        self._save()

    def settle_reload(self, *, owed: bool) -> None:
        """A reload is owed, or is owed no longer."""
        if self._state.reload_owed != owed:
            self._state.reload_owed = owed
            self._save()

    def _deployed(self, records: Mapping[str, Installed]) -> None:
        self._state.installed.update(records)
        self._state.reload_owed = True
        self._save()
        for key in records:
            self.holds(key)

    def _save(self) -> None:
        self._saved = False
        with self._shield():
            self._state_folder.save(self._state)
        self._saved = True

    def _read(self, path: str) -> bytes | None:
        try:
            with self._folders.parent(path) as (folder, name):
                return files.read(folder, name)
        except Transient:
            return None


def _signature(paths: tuple[str, str]) -> int:
    """One number that changes whenever one of the two files is replaced or written to; 1 when one is missing."""
    try:
        stats = [os.stat(path, follow_symlinks=False) for path in paths]  # noqa: PTH116 -- at each poll
    except OSError:
        return 1
    return hash(tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats))
