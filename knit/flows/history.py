"""All that has happened to one certificate, as recorded."""

from __future__ import annotations

from collections.abc import Sequence

from knit.core.events import Event
from knit.core.model.certificate import CertId
from knit.ports.events import Events


def every(events: Events, cert_id: CertId) -> Sequence[Event]:
    """All that is recorded of this certificate, oldest first."""
    found: list[Event] = []
    while more := events.since(found[-1].id if found else 0, cert_id=cert_id):
        found += more
    return found
