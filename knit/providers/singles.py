"""Base of the solvers whose API keeps every TXT value as a record of its own, with an id."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from knit.core.model.challenge import Record
from knit.ports.solving import Paced, Timing
from knit.providers.zones import Zones, relative


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value belongs: the zone's name, what the API calls that zone, and the value itself."""

    zone: str
    zone_id: str
    record: Record

    @property
    def name(self) -> str:
        """The record's name inside the zone, an empty text at the zone's own name."""
        return relative(self.record.fqdn, self.zone)

    @property
    def value(self) -> str:
        """The TXT value."""
        return self.record.value


class Singles(Paced, ABC):
    """Sets a value unless it is there, removes every record that has it.

    Nothing is remembered between the two: a create whose answer was lost is sent again and may leave the value
    twice, so removing has to look anyway.
    """

    def __init__(self, timing: Timing, zones: Zones[str]) -> None:
        super().__init__(timing)
        self._zones = zones

    def present(self, record: Record) -> None:
        """Create the record unless one has this value."""
        place = self._place(record)
        if not any(self._ids(place)):
            self._create(place)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Delete all records with this value."""
        place = self._place(record)
        for found in list(self._ids(place)):
            self._delete(place, found)

    @abstractmethod
    def _ids(self, place: Place) -> Iterable[str]:
        """Ids of the TXT records at exactly this name with exactly this value."""

    @abstractmethod
    def _create(self, place: Place) -> None: ...

    @abstractmethod
    def _delete(self, place: Place, found: str) -> None:
        """Delete one record; one that is gone already is done."""

    def _place(self, record: Record) -> Place:
        zone, zone_id = self._zones.of(record)
        return Place(zone=zone, zone_id=zone_id, record=record)
