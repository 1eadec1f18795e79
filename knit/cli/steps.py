"""The steps of renewals, as their events tell them: none is missed, however quickly it is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from knit.core.events import Kind
from knit.core.model.attempt import Step
from knit.core.model.certificate import CertId
from knit.core.model.presence import Seen
from knit.ports.events import Events

AFTER: dict[str, Step | None] = {
    Kind.RENEWAL_STARTED: Step.PLANNED,
    Kind.KEY_STAGED: Step.KEY_STAGED,
    Kind.ORDER_PLACED: Step.ORDERED,
    Kind.ORDER_FINALIZING: Step.FINALIZING,
    Kind.CERTIFICATE_ISSUED: Step.ISSUED,
    Kind.CERTIFICATE_IMPORTED: Step.ISSUED,
    Kind.CERTIFICATE_PUBLISHING: Step.PUBLISHING,
    Kind.CERTIFICATE_PUBLISHED: None,
    Kind.RENEWAL_FAILED: None,
    Kind.RENEWAL_ABANDONED: None,
    Kind.IMPORT_FAILED: None,
    Kind.IMPORT_ABANDONED: None,
}
"""Where an attempt is after an event of this kind; None: it is over."""

BACK = 100
"""Events to look back over: two transactions may end in another order than their events have ids."""


class Steps:
    """What happens to one certificate, or to all, from now on."""

    def __init__(self, events: Events, cert_id: CertId | None) -> None:
        self._events = events
        self._cert_id = cert_id
        self._began = self._newest = events.newest()
        self._heard: set[int] = set()
        self._steps: dict[CertId, Step | None] = {}
        self._last: dict[CertId, int] = {}

    def news(self) -> Iterator[tuple[CertId, Step]]:
        """Each step that was begun since the last look."""
        for event in self._events.since(max(self._began, self._newest - BACK), cert_id=self._cert_id):
            if event.id in self._heard:
                continue
            self._heard.add(event.id)
            self._newest = max(self._newest, event.id)
            if event.cert_id is None or event.kind not in AFTER:
                continue
            before, step = self._steps.get(event.cert_id), AFTER[event.kind]
            if event.id > self._last.get(event.cert_id, 0):
                self._last[event.cert_id], self._steps[event.cert_id] = event.id, step
            if step is not None and step is not before:
                yield event.cert_id, step

    def at(self, seen: Seen) -> Seen:
        """The same, with the step that the last event told."""
        return replace(seen, step=self._steps.setdefault(seen.id, None if seen.step is None else Step(seen.step)))
