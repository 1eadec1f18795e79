"""Changing what an API can only replace as a whole: a record set, or a zone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from knit.errors import Unreachable
from knit.ports.process import Sleep

T = TypeVar("T")

_PAUSES = (0.0, 0.0, 1.0, 4.0)


def rewrite(
    what: str, sleep: Sleep, read: Callable[[], T], change: Callable[[T], T], write: Callable[[T], None]
) -> None:
    """Read, change, write back, and read again until the change shows; nothing is written when it does at once.

    knit's own workers are kept apart by a lock (`ReplacesWhole`). Reading again finds the change undone when
    somebody else, a person at the provider's console for one, wrote at the same moment.

    Raises Unreachable when the change does not stay.
    """
    for pause in _PAUSES:
        if pause:
            sleep(pause)
        current = read()
        wanted = change(current)
        if wanted == current:
            return
        write(wanted)
    raise Unreachable(f"{what}: what is written does not stay; somebody else is writing there too")
