"""Where fetched and built servers stay between runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """The rig's cache, made if need be. As root it lies where the account that servers run under can read."""
    if os.geteuid() == 0:
        path = Path("/var/cache/knit-rig")
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "knit-rig"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def exclusively(what: str) -> Iterator[None]:
    """Hold the cache's lock for one kind of thing, so that two runs never fetch the same thing at once."""
    with (cache_directory() / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
