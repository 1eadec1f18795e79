"""A certificate's folder as a symbolic link to one version of its files: a reader has one version or the other.

    www.example.org -> .knit-<node>-<folder>-<version>.files/      made by this module, replaced by one rename

Whoever opens the folder and then its files sees files of one version only: what is in a version never changes. All
functions work in the open folder that holds the link; all raise OSError.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from knit.node import files

_VERSION = re.compile(r"\.knit-[0-9a-f]{8}-(?P<folder>[0-9a-f]{16})-[0-9a-f]{16}\.files")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def version_name(mark: str) -> str:
    """The name of the folder that a move with this mark fills."""
    return f".knit-{mark}.files"


def another(mark: str) -> str:
    """A name for a version of the same folder that no move has made."""
    return version_name(mark[:-16] + secrets.token_hex(8))


def target(folder: int, name: str) -> str | None:
    """The version that this link leads to; None when it is no link of knit's."""
    try:
        found = os.readlink(name, dir_fd=folder)
    except OSError:
        return None
    return found if _VERSION.fullmatch(found) else None


def open_version(folder: int, version: str) -> int:
    """The version's folder, not followed anywhere."""
    return os.open(version, _FOLDER, dir_fd=folder)


@contextmanager
def opened(folder: int, name: str) -> Iterator[int]:
    """An open folder, for a while; never through a link."""
    found = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield found
    finally:
        os.close(found)


def names(opened: int) -> list[str]:
    """What lies in this open folder."""
    with os.scandir(opened) as entries:
        return [entry.name for entry in entries]


def make(folder: int, version: str) -> None:
    """An empty version that nobody else can look into yet; one that an earlier try has left is removed first."""
    with suppress(FileNotFoundError):
        remove(folder, version)
    os.mkdir(version, 0o700, dir_fd=folder)


def point(folder: int, name: str, version: str) -> None:
    """A link to this version; one of the name that an earlier try has left is removed first."""
    files.remove(folder, name)
    os.symlink(version, name, dir_fd=folder)


def digest_of(contents: Iterable[tuple[str, bytes]]) -> str:
    """What a folder with exactly these files is known by."""
    listed = sorted((name, hashlib.sha256(content).hexdigest()) for name, content in contents)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def digest(folder: int, name: str) -> str | None:
    """That of the version behind this link; None when there is none, or it holds what is no plain file."""
    version = target(folder, name)
    if version is None:
        return None
    try:
        with opened(folder, version) as inside:
            found = [(one, files.read(inside, one)) for one in names(inside)]
    except OSError:
        return None
    whole = [(one, content) for one, content in found if content is not None]
    return digest_of(whole) if len(whole) == len(found) else None


def remove(folder: int, version: str) -> None:
    """Remove a version with its files. What else lies in it keeps it there."""
    with opened(folder, version) as inside:
        for name in names(inside):
            os.unlink(name, dir_fd=inside)
    os.rmdir(version, dir_fd=folder)


def number_of(path: str) -> str:
    """What stands for the folder of this path in the names of its versions."""
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def of_folder(folder: int, path: str) -> list[str]:
    """All versions of the folder with this path, whichever node made them."""
    found = [(name, _VERSION.fullmatch(name)) for name in names(folder)]
    return [name for name, match in found if match is not None and match["folder"] == number_of(path)]


def is_folder(folder: int, name: str) -> bool:
    """Whether a folder lies there, and no link to one."""
    about = files.about(folder, name)
    return about is not None and stat.S_ISDIR(about.st_mode)
