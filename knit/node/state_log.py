"""A file of short lines that only grows: what changes costs as much as it is, however much is known already.

Each line carries its own checksum, so that damage costs the line it hit and no other. A line that was cut by a crash
or a full disk is such damage. Once most of it is history, the file is written anew.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from knit.errors import Transient
from knit.node.state import StateFolder

NAME = "state.log"
LONGEST = 256 * 1024
HISTORY = 2**20
"""Bytes of it that are always allowed."""

Entry = list[object]


class StateLog:
    """The open file. `everything` tells all that is known now, whenever the file is written anew."""

    def __init__(self, folder: StateFolder, everything: Callable[[], Iterable[Entry]]) -> None:
        self._folder = folder
        self._everything = everything
        self._file: int | None = None
        self._size = 0
        self._largest = HISTORY

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def entries(self) -> Iterator[Entry | None]:
        """What the file says, None for each line that is damaged. Nothing, when there is no file."""
        opened = self._folder.open(NAME, os.O_RDONLY)
        if opened is None:
            return
        with os.fdopen(opened, "rb") as file:
            try:
                while line := file.readline(LONGEST):
                    yield _entry(line)
            except OSError:
                yield None

    def resume(self, *, live: int) -> None:
        """Go on with the file that was read, of which about so many bytes are no history."""
        self._file = self._folder.open(NAME, os.O_WRONLY | os.O_APPEND)
        self._size = 0 if self._file is None else os.fstat(self._file).st_size
        self._largest = 2 * live + HISTORY

    def append(self, entries: Iterable[Entry], *, sync: bool = False) -> None:
        """Add these lines, `sync` on disk. Raises Transient; then nothing was added."""
        if self._is_lost():
            self.rewrite()
        assert self._file is not None
        data = b"".join(map(_line, entries))
        try:
            written = os.write(self._file, data)
            if sync:
                os.fsync(self._file)
        except OSError as error:
            self._undo()
            raise _unwritten(error.strerror) from None
        if written < len(data):
            self._undo()
            raise _unwritten(os.strerror(errno.ENOSPC))
        self._size += len(data)

    def tidy(self) -> None:
        """Write the file anew once it is mostly history; what it holds stays good when that is not possible."""
        if self._size > self._largest:
            self._largest = 2 * self._size
            with suppress(Transient):
                self.rewrite()

    def rewrite(self) -> None:
        """Replace the file by what is known now. Raises Transient."""
        self.close()
        self._folder.replace(NAME, map(_line, self._everything()))
        self._file = self._folder.open(NAME, os.O_WRONLY | os.O_APPEND)
        if self._file is None:
            raise Transient("the node's state was taken away while it was written")
        self._size = os.fstat(self._file).st_size
        self._largest = 2 * self._size + HISTORY

    def _is_lost(self) -> bool:
        """Whether the file is not, or no longer, as this process wrote it."""
        if self._file is None:
            return True
        about = os.fstat(self._file)
        return about.st_nlink == 0 or about.st_size != self._size

    def _undo(self) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self.close()


def _unwritten(cause: str | None) -> Transient:
    return Transient(f"the node's state cannot be written: {cause}")


def _line(entry: Entry) -> bytes:
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _entry(line: bytes) -> Entry | None:
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, list) and entry else None
