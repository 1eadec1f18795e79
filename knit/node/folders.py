"""Finds the folder that a path names, without being led astray: everything after it works on the open folder.

With roots every step below a root is opened without following symbolic links. Without them folders may be linked
(the operator's own layout), but the place where they end is judged too. A file itself is never followed anywhere.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from knit.core.forbidden import never
from knit.errors import KnitError, Refused, Transient

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folders:
    """The folders in which this node may write. `private` (the node's own state) is never among them."""

    def __init__(self, roots: tuple[str, ...] | None, private: str) -> None:
        self._roots = None if roots is None else tuple(posixpath.normpath(root) for root in roots)
        self._private = os.path.realpath(private)

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The open folder of this clean absolute path, and the file's name in it.

        Raises Refused when the path leads where nothing may be written, Transient when the folder cannot be opened.
        """
        folder, name = posixpath.split(path)
        try:
            opened = self._open(folder)
        except OSError as error:
            raise _cannot_open(folder, error) from None
        try:
            self._judge(opened, folder, name)
            yield opened, name
        finally:
            os.close(opened)

    def _open(self, folder: str) -> int:
        if self._roots is None:
            return os.open(folder, _FOLDER)
        for root in self._roots:
            if folder == root or folder.startswith(root.rstrip("/") + "/"):
                return _walk(root, folder[len(root) :].strip("/"))
        raise Refused(f"{folder!r} is not below any of KNIT_WATCH_ROOTS")

    def _judge(self, opened: int, folder: str, name: str) -> None:
        real = _real_path(opened, folder)
        if never(posixpath.join(real, name)) or f"{real}/".startswith(f"{self._private}/"):
            raise Refused(f"{folder!r} leads to {real!r}, where knit never writes")


def _walk(root: str, below: str) -> int:
    opened = os.open(root, _FOLDER)
    for step in below.split("/") if below else ():
        try:
            inner = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=opened)
        finally:
            os.close(opened)
        opened = inner
    return opened


def _real_path(opened: int, folder: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{opened}")  # noqa: PTH115 -- ten thousand times a sweep
    except OSError:
        return os.path.realpath(folder)


def _cannot_open(folder: str, error: OSError) -> KnitError:
    if isinstance(error, FileNotFoundError):
        return Transient(f"folder {folder!r} does not exist: create it, knit creates no folders")
    if isinstance(error, NotADirectoryError):
        return Refused(f"{folder!r} is not a folder, or a symbolic link stands in the way")
    return Transient(f"cannot open folder {folder!r}: {error.strerror}")
