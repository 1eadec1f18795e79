"""A changed list is acted on within seconds where a centre runs: it is told here, whoever has changed the list."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from knit.ports.centre import Bell


class Hears(Enum):
    """Who acts on a change: a running centre; workers, as soon as one is there; nobody before a centre runs."""

    CENTRE = auto()
    WORKERS = auto()
    NOBODY = auto()


def wake(bell: Bell, queue_url: str | None) -> Hears:
    """Tell whoever is there that the list has changed."""
    bell.change()
    if bell.scheduled():
        return Hears.CENTRE
    return Hears.WORKERS if queue_url is not None and _sent(queue_url) else Hears.NOBODY


def _sent(queue_url: str) -> bool:
    from knit.app.queue import open_queue
    from knit.errors import KnitError
    from knit.queue import messages

    try:
        queue = open_queue(queue_url)
        queue.send(messages.reconcile())
        queue.close()
    except KnitError:
        return False
    return True
