"""What has happened, as PostgreSQL recorded it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from knit.core.events import Event
from knit.core.model.certificate import CertId


class Events(Protocol):
    """Reads the record of events. Each was written by the statement that made it true, whoever sent that.

    Two transactions may end in another order than their events have ids: whoever follows looks back a little.
    """

    def since(self, after: int, *, cert_id: CertId | None = None, most: int = 1000) -> Sequence[Event]:
        """Events with a greater id, oldest first; of one certificate, or of everything."""

    def newest(self) -> int:
        """The greatest id so far; 0 before the first event."""
