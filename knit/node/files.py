"""Single steps on single files, each in an open folder, none following a symbolic link.

All raise OSError; the callers know what the step was for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

Dress = Callable[[int], object]
"""Gives an open file its owner and rights."""

Stamp = tuple[int, int, int, int]

MAX_BYTES = 1024 * 1024
"""More than any file that knit writes."""


def read(folder: int, name: str, limit: int = MAX_BYTES) -> bytes | None:
    """The file's bytes; None when there is none, or it is not a plain file of sensible size."""
    try:
        # A pipe must not make the reader wait for a writer.
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        if not is_plain(opened, limit):
            return None
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return None
    finally:
        os.close(opened)


def unreadable(folder: int, name: str) -> str | None:
    """Why the file cannot be opened, in the system's words; None when it can."""
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder))
    except OSError as error:
        return error.strerror
    return None


def is_plain(opened: int, limit: int) -> bool:
    """Whether this is a plain file of no more bytes."""
    about = os.fstat(opened)
    return stat.S_ISREG(about.st_mode) and about.st_size <= limit


def create(folder: int, name: str, pieces: Iterable[bytes], mode: int, dress: Dress | None = None) -> Stamp:
    """Make a new file that nobody else can open before it has its final mode, and have it on disk.

    `dress` may give the open file another owner or other rights before that.
    """
    opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with os.fdopen(opened, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fchmod(opened, mode)
        if dress is not None:
            dress(opened)
        os.fsync(opened)
        return stamp(os.fstat(opened))


def stamp(about: os.stat_result) -> Stamp:
    """What stays as it is while a file is renamed, and changes when it is written to or another takes its name."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def about(folder: int, name: str) -> os.stat_result | None:
    """What lies there, a link for itself; None when the name is free."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def keep(folder: int, name: str, spare: str, dress: Dress) -> bool:
    """Give the file a second name, so that replacing the first one loses nothing; False when there is no file."""
    try:
        os.link(name, spare, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except FileExistsError:
        raise
    except OSError:
        # No hard links here: another owner's file, or a file system without them.
        _copy(folder, name, spare, dress)
    return True


def replace(folder: int, name: str, target: str) -> None:
    """Rename onto the target, in one step for whoever reads it."""
    os.rename(name, target, src_dir_fd=folder, dst_dir_fd=folder)


def remove(folder: int, name: str) -> None:
    """Remove a file that knit itself made; it may be gone."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        # A read-only file system says that it is one, whether or not there is such a file.
        if about(folder, name) is not None:
            raise


def _copy(folder: int, name: str, spare: str, dress: Dress) -> None:
    data = read(folder, name)
    if data is None:
        raise PermissionError(1, "the old file can be neither linked nor read", name)
    create(folder, spare, [data], 0o600, dress)
