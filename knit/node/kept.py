"""Pairs that were good, kept in the state folder when another one takes their place: one for each key.

    kept/<hash of the key>    one line of JSON: key, record, progress and sizes; then all contents

They hold private keys, as the files that they come from do, and nobody but this process's user can read them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from knit.core.digest import contents_digest
from knit.core.model.deployed import Progress
from knit.core.placement import Installed
from knit.node import files
from knit.node.progress import from_fields as progress_from_fields
from knit.node.progress import to_fields as progress_to_fields
from knit.node.records import from_fields, to_fields
from knit.node.state import StateFolder

FOLDER = "kept"
LARGEST = 4 * 2**20
_NAME = re.compile(r"[0-9a-f]{64}(\.tmp)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPair:
    """The contents of a key's files when they were good, and what was known of them."""

    key: str
    record: Installed
    progress: Progress
    contents: tuple[bytes, ...] = field(repr=False)


class Kept:
    """The folder. All raise OSError, or Transient when the state folder is not to be had."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder

    def put(self, pairs: Collection[KeptPair]) -> None:
        """Keep these, on disk, each in place of the one before of its key."""
        if not pairs:
            return
        with self._opened(make=True) as opened:
            for pair in pairs:
                name = _name(pair.key)
                files.remove(opened, f"{name}.tmp")
                files.create(opened, f"{name}.tmp", _written(pair), 0o600)
                files.replace(opened, f"{name}.tmp", name)
            os.fsync(opened)

    def get(self, key: str) -> KeptPair | None:
        """What is kept for this key; None when there is nothing, or it is damaged."""
        with suppress(FileNotFoundError), self._opened() as opened:
            data = files.read(opened, _name(key), LARGEST)
            pair = None if data is None else _read(data)
            return pair if pair is not None and pair.key == key else None
        return None

    def forget(self, keys: Iterable[str]) -> None:
        """Keep nothing for these any more."""
        with suppress(FileNotFoundError), self._opened() as opened:
            for key in keys:
                files.remove(opened, _name(key))

    def tidy(self, keys: Iterable[str]) -> None:
        """Remove what is neither for these keys nor whole."""
        with suppress(FileNotFoundError), self._opened() as opened:
            wanted = {_name(key) for key in keys}
            with os.scandir(opened) as entries:
                gone = [entry.name for entry in entries if entry.name not in wanted and _NAME.fullmatch(entry.name)]
            for name in gone:
                files.remove(opened, name)

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[int]:
        opened = self._folder.subfolder(FOLDER, make=make)
        try:
            yield opened
        finally:
            os.close(opened)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _written(pair: KeptPair) -> list[bytes]:
    sizes = [len(content) for content in pair.contents]
    head = [pair.key, to_fields(pair.record), progress_to_fields(pair.progress), sizes]
    return [json.dumps(head, separators=(",", ":")).encode(), b"\n", *pair.contents]


def _read(data: bytes) -> KeptPair | None:
    head, _, contents = data.partition(b"\n")
    try:
        match json.loads(head):
            case [str(key), fields, list(progress), [*sizes]]:
                record, kept = from_fields(fields), _split(contents, sizes)
                if contents_digest(kept) == record.sha256 and len(kept) == len(record.files):
                    return KeptPair(
                        key=key, record=record, progress=progress_from_fields(progress), contents=tuple(kept)
                    )
    except (ValueError, RecursionError):
        return None
    return None


def _split(contents: bytes, sizes: Sequence[object]) -> list[bytes]:
    parts, at = [], 0
    for size in sizes:
        match size:
            case int():
                parts.append(contents[at : at + size])
                at += size
            case _:
                raise ValueError("a size that is none")
    return parts
