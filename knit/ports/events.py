"""What happens: told as it does, and read as PostgreSQL recorded it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from knit.core.events import Event, Told
from knit.core.model.certificate import CertId
from knit.core.model.results import Result


class Events(Protocol):
    """Reads the record of events. Each was written by the statement that made it true, whoever sent that.

    Two transactions may end in another order than their events have ids: whoever follows looks back a little.
    """

    def since(self, after: int, *, cert_id: CertId | None = None, most: int = 1000) -> Sequence[Event]:
        """Events with a greater id, oldest first; of one certificate, or of everything."""

    def newest(self) -> int:
        """The greatest id so far; 0 before the first event."""


class Listener(Protocol):
    """Hears what happens in this process: events from the flows, and how each message ended from the actors.

    Each is told once, after it was recorded, in the thread that did it, and several threads may tell at a time. A
    listener comes back at once and raises nothing: no flow waits for it, or fails with it.
    """

    def __call__(self, told: Told | Result, /) -> None:
        """This has just happened."""
