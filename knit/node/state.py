"""KNIT_STATE_DIR: made when it is missing, held by one process, and found again when somebody takes it away.

What stands in the way of a file of knit's here is put aside; nothing here is followed, waited for, or read without a
bound.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from knit.errors import Refused, Transient
from knit.node import files

log = logging.getLogger(__name__)

LOCK = "lock"
LARGEST = 256 * 2**20
"""Bytes: a few hundred thousand records."""

_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP, errno.ENXIO, errno.ENODEV}

_FORBIDDEN = {errno.EACCES, errno.EPERM}
"""To read or write a file; its place can perhaps be taken all the same."""


class StateFolder:
    """The folder, open and locked."""

    def __init__(self, path: str) -> None:
        """Make and lock it. Raises Refused when another process holds it or it cannot be made."""
        self._path = path
        try:
            self._folder, self._lock = self._taken()
        except OSError as error:
            raise Refused(f"KNIT_STATE_DIR {path!r} cannot be used: {error.strerror}") from None
        except Transient as error:
            raise Refused(str(error)) from None

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
        os.close(self._folder)

    def regain(self) -> bool:
        """Take the folder again if it is no longer where it was; whether that was so. Raises Transient."""
        if self._is_ours():
            return False
        try:
            folder, lock = self._taken()
        except OSError as error:
            self._unusable(error)
        self.close()
        self._folder, self._lock = folder, lock
        log.warning("the state folder was taken away, starting another", extra={"folder": self._path})
        return True

    def open(self, name: str, flags: int) -> int | None:
        """The plain file, open; None when there is none of sensible size, or not for us. Raises Transient."""
        try:
            opened = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError as error:
            if error.errno in {errno.ENOENT, *_IN_THE_WAY, *_FORBIDDEN}:
                return None
            self._unusable(error)
        if files.is_plain(opened, LARGEST):
            return opened
        os.close(opened)
        return None

    def read(self, name: str) -> bytes | None:
        """The plain file's bytes; None when there is none of sensible size."""
        return files.read(self._folder, name, LARGEST)

    def subfolder(self, name: str, *, make: bool = False) -> int:
        """The folder of this name in it, open. Raises OSError; FileNotFoundError, where it is not to be made."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, dir_fd=self._folder)
        except OSError as error:
            if not make:
                raise
            if error.errno != errno.ENOENT:
                self._put_aside(name, error)
        os.mkdir(name, 0o700, dir_fd=self._folder)
        os.fsync(self._folder)
        return os.open(name, flags, dir_fd=self._folder)

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """Replace the file in one step, on disk. Raises Transient."""
        temporary = f"{name}.tmp"
        try:
            self._remove(temporary)
            files.create(self._folder, temporary, pieces, 0o600)
            try:
                files.replace(self._folder, temporary, name)
            except OSError as error:
                self._put_aside(name, error)
                files.replace(self._folder, temporary, name)
            os.fsync(self._folder)
        except OSError as error:
            self._unusable(error)

    def forget(self, *names: str) -> None:
        """Remove these files, if they are there. Raises Transient."""
        try:
            for name in names:
                self._remove(name)
        except OSError as error:
            self._unusable(error)

    def _remove(self, name: str) -> None:
        try:
            files.remove(self._folder, name)
        except OSError as error:
            self._put_aside(name, error)

    def _put_aside(self, name: str, error: OSError) -> None:
        """Rename what cannot be a file of ours, or raise this error."""
        if error.errno not in _IN_THE_WAY:
            raise error
        aside = f"{name}.aside-{secrets.token_hex(4)}"
        os.rename(name, aside, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        log.warning("something stood in the way in the state folder", extra={"was": name, "is": aside})

    def _taken(self) -> tuple[int, int]:
        Path(self._path).mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return folder, self._locked(folder)
        except BaseException:
            os.close(folder)
            raise

    def _locked(self, folder: int) -> int:
        lock = _lock_file(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise Transient(f"another knit watch is using KNIT_STATE_DIR {self._path!r}: give each its own") from None
        return lock

    def _is_ours(self) -> bool:
        try:
            here, lock = os.stat(self._path), os.stat(LOCK, dir_fd=self._folder)  # noqa: PTH116 -- at each poll
        except OSError:
            return False
        return os.path.samestat(here, os.fstat(self._folder)) and os.path.samestat(lock, os.fstat(self._lock))

    def _unusable(self, error: OSError) -> NoReturn:
        raise Transient(f"KNIT_STATE_DIR {self._path!r} cannot be written: {error.strerror}") from None


def _lock_file(folder: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(LOCK, flags, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        with suppress(FileNotFoundError):
            os.rename(LOCK, f"{LOCK}.aside-{secrets.token_hex(4)}", src_dir_fd=folder, dst_dir_fd=folder)
        return os.open(LOCK, flags, 0o600, dir_fd=folder)
