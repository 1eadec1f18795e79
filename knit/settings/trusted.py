"""Files that hold commands: read only where nobody but root and this process's user can have written them."""

from __future__ import annotations

import os
import stat

from knit.errors import Misconfigured

LONGEST = 256 * 1024


def read(name: str, path: str) -> bytes:
    """What the file holds; `name` is what the error calls it. Raises Misconfigured with one sentence.

    A symbolic link is judged by where it leads, and by the folders on both ways. Nothing is waited for.
    """
    try:
        real = os.path.realpath(path, strict=True)
        # A pipe without a writer would be waited for, and a terminal would become this process's own.
        opened = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            why_not = _file_fault(os.fstat(opened)) or _folder_fault(path) or _folder_fault(real)
            held = b"" if why_not else _read(opened)
        finally:
            os.close(opened)
    except OSError as error:
        raise Misconfigured(f"{name}={path}: cannot be read ({error.strerror or 'input/output error'})") from None
    if len(held) > LONGEST:
        why_not = f"has more than {LONGEST} bytes"
    if why_not:
        raise Misconfigured(f"{name}={path}: {why_not}")
    return held


def _read(opened: int) -> bytes:
    held = bytearray()
    while len(held) <= LONGEST and (piece := os.read(opened, LONGEST + 1 - len(held))):
        held += piece
    return bytes(held)


def _file_fault(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if found.st_uid not in {0, os.geteuid()}:
        return f"must be owned by root or by this process's user, and is owned by user {found.st_uid}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"must not be writable by its group or others (its mode is {stat.S_IMODE(found.st_mode):04o})"
    return None


def _folder_fault(path: str) -> str | None:
    """Why somebody else could put another file into its place."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120 -- as `read`
    while True:
        found = os.stat(folder)  # noqa: PTH116 -- as `read`
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            return f"others can write in {folder}, and so put another file into its place"
        if folder == "/":
            return None
        folder = os.path.dirname(folder)  # noqa: PTH120 -- as `read`
