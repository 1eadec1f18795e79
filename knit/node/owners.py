"""Whose the files of a node's folders are, as they lie there now."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from knit.core.unit import Owners

MOST = 50_000
"""Entries that are looked at."""


def found_in(folders: Iterable[str]) -> Owners:
    """Whether any of these folders, or a file or folder below one, is of another user or group than this process."""
    users = groups = False
    for about in _everything(folders):
        # A link is made anew with its target's rights; whose it is does not matter.
        if not stat.S_ISLNK(about.st_mode):
            users = users or about.st_uid != os.geteuid()
            groups = groups or (about.st_gid != os.getegid() and stat.S_ISREG(about.st_mode))
    return Owners(users=users, groups=groups)


def standing(folder: str) -> str:
    """The folder, or the nearest above it that is there."""
    return next(str(one) for one in (Path(folder), *Path(folder).parents) if one.is_dir())


def _everything(folders: Iterable[str]) -> Iterator[os.stat_result]:
    left, waiting = MOST, list(folders)
    while waiting and left > 0:
        folder = waiting.pop()
        # What is not there, or is gone by now, is nobody's.
        with suppress(OSError):
            yield Path(folder).stat()
            for entry in list(os.scandir(folder))[:left]:
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.stat(follow_symlinks=False)
