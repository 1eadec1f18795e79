"""Finds the folder that a path names, without being led astray: everything after it works on the open folder.

With roots every step below a root is opened without following symbolic links. Without them folders may be linked
(the operator's own layout), but the place where they end is judged too. Folders that the node file names are followed
once, at the start; from then on they are where they were found. A file itself is never followed anywhere.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from knit.core.forbidden import never
from knit.core.placement import is_below
from knit.errors import Elsewhere, KnitError, Refused, Transient
from knit.node import versions

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folders:
    """The folders in which this node may write: below `roots` (None: anywhere) and below those of the node file, `own`.

    `private` (the node's own state) is never among them.
    """

    def __init__(self, roots: tuple[str, ...] | None, private: str, own: Iterable[str] = ()) -> None:
        self._roots = None if roots is None else tuple(posixpath.normpath(root) for root in roots)
        self._own = {folder: os.path.realpath(folder) for folder in own}
        self._private = os.path.realpath(private)

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """Several steps in the same open folders; they are closed at the end."""
        with ExitStack() as opened:
            yield Visit(self, opened)

    def open(self, folder: str) -> int:
        """The folder. Raises Refused when it is not below the roots, Transient when it cannot be opened."""
        try:
            return self._open(folder)
        except OSError as error:
            raise _cannot_open(folder, error) from None

    def judge(self, real: str, folder: str, name: str) -> None:
        """Raise Refused when a file of this name, in the folder that is really this one, may not be written."""
        if never(posixpath.join(real, name)) or f"{real}/".startswith(f"{self._private}/"):
            raise Refused(f"{folder!r} leads to {real!r}, where knit never writes")

    def make(self, folder: str, name: str, mode: int) -> int:
        """The folder for a file of this name, made with this mode if it is missing, and 0755 what is missing above it.

        Nothing is made outside the roots, or through a link that is not there yet. Raises as `open` and `judge`.
        """
        try:
            opened, missing = self._deepest(folder)
            try:
                self.judge(posixpath.join(_real_path(opened, folder), *missing), folder, name)
                for number, step in enumerate(missing, 1):
                    inner = _made(opened, step, mode if number == len(missing) else 0o755)
                    os.close(opened)
                    opened = inner
            except BaseException:
                os.close(opened)
                raise
        except OSError as error:
            raise _cannot_open(folder, error) from None
        return opened

    def _deepest(self, folder: str) -> tuple[int, list[str]]:
        """The last folder on this way that is there, and the names of those that are not."""
        there, missing = folder, list[str]()
        while True:
            try:
                return self._open(there), missing
            except FileNotFoundError:
                there, _, last = there.rpartition("/")
                if not there or (self._roots is not None and not self._is_below(there)):
                    raise
                missing.insert(0, last)

    def _is_below(self, folder: str) -> bool:
        return any(f"{folder}/".startswith(root.rstrip("/") + "/") for root in self._roots or ())

    def _open(self, folder: str) -> int:
        for root in self._roots or ():
            if is_below(folder, root):
                return _walk(root, folder[len(root) :].strip("/"))
        for own, real in self._own.items():
            if is_below(folder, own):
                return _walk("/", real + folder[len(own) :])
        if self._roots is None:
            return os.open(folder, _FOLDER)
        raise Elsewhere(f"{folder!r} is not below any of KNIT_WATCH_ROOTS")


class Visit:
    """Folders that were opened once, each by the path that named it; with each, where it really is."""

    def __init__(self, folders: Folders, opened: ExitStack) -> None:
        self._folders = folders
        self._opened = opened
        self._known: dict[str, tuple[int, str]] = {}

    def place(self, path: str) -> tuple[int, str]:
        """The open folder of this clean absolute path, and the file's name in it.

        Raises Refused when the path leads where nothing may be written, Transient when the folder cannot be opened.
        """
        folder, _, name = path.rpartition("/")
        opened, real = self._visited(folder or "/")
        self._folders.judge(real, folder, name)
        return opened, name

    def make(self, path: str, mode: int) -> None:
        """The folder of this path, where it is missing (see `Folders.make`)."""
        folder, _, name = path.rpartition("/")
        if folder and folder not in self._known:
            self._keep(folder, self._folders.make(folder, name, mode))

    def judge(self, path: str, name: str) -> None:
        """Raise Refused when no file of this name may be written in this folder, whose own folder is open."""
        above, _, last = path.rpartition("/")
        self._folders.judge(posixpath.join(self._visited(above or "/")[1], last), path, name)

    def folder(self, folder: str) -> int:
        """The open folder. Raises as `place`."""
        return self._visited(folder)[0]

    def _visited(self, folder: str) -> tuple[int, str]:
        known = self._known.get(folder)
        if known is None:
            known = self._keep(folder, self._folders.open(folder))
        return known

    def _keep(self, folder: str, opened: int) -> tuple[int, str]:
        self._opened.callback(os.close, opened)
        known = self._known[folder] = (opened, _real_path(opened, folder))
        return known

    def known(self, path: str) -> int | None:
        """The folder of this path, if it has been opened."""
        known = self._known.get(posixpath.dirname(path))
        return None if known is None else known[0]

    def sync(self) -> None:
        """Have what was named, renamed and removed in these folders on disk, where they can tell."""
        for opened, _ in self._known.values():
            with suppress(OSError):
                os.fsync(opened)


def _walk(root: str, below: str) -> int:
    opened = os.open(root, _FOLDER)
    for step in filter(None, below.split("/")):
        try:
            inner = _into(opened, step)
        finally:
            os.close(opened)
        opened = inner
    return opened


def _into(opened: int, step: str) -> int:
    """The next folder; of links only those that knit itself makes beside their target."""
    try:
        return os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=opened)
    except NotADirectoryError:
        version = versions.target(opened, step)
        if version is None:
            raise
        return versions.open_version(opened, version)


def _made(opened: int, step: str, mode: int) -> int:
    """The folder of this name, made if it is missing."""
    try:
        os.mkdir(step, 0o700, dir_fd=opened)
    except FileExistsError:
        return _into(opened, step)
    inner = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=opened)
    os.fchmod(inner, mode)
    os.fsync(opened)
    return inner


def _real_path(opened: int, folder: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{opened}")  # noqa: PTH115 -- ten thousand times a sweep
    except OSError:
        return os.path.realpath(folder)


def _cannot_open(folder: str, error: OSError) -> KnitError:
    if isinstance(error, FileNotFoundError):
        return Transient(f"folder {folder!r} does not exist: create it, or say create_dirs in a node file")
    if isinstance(error, NotADirectoryError):
        return Refused(f"{folder!r} is not a folder, or a symbolic link stands in the way")
    return Transient(f"cannot open folder {folder!r}: {error.strerror}")
