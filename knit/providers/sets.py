"""Base of the solvers whose API keeps one record set per name and lets a change be bound to what was read."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from knit.core.model.challenge import Record
from knit.ports.solving import Paced, ReplacesWhole, Timing
from knit.providers.base import Runtime
from knit.providers.rewrite import rewrite
from knit.providers.singles import Place
from knit.providers.zones import Zones

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts(Generic[V]):
    """The TXT record set of one name: TTL in seconds, the values as the API writes them, the API's version mark."""

    ttl: int
    values: tuple[V, ...] = ()
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Generic[V]):
    """What was read, and what it shall become. A set without values does not exist."""

    before: Texts[V]
    after: Texts[V]


class Sets(Paced, ReplacesWhole, Generic[V]):
    """Adds and removes one value of a set; all others go back exactly as they came."""

    def __init__(self, timing: Timing, zones: Zones[str], runtime: Runtime) -> None:
        super().__init__(timing)
        self._zones = zones
        self._sleep = runtime.sleep

    def replaces(self, record: Record) -> str:
        """A write replaces the whole record set."""
        return record.fqdn

    def present(self, record: Record) -> dict[str, str] | None:
        """Write the set with the value in it, unless it is."""
        return self._edit(self._place(record), keep=True)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Write the set without the value, or delete the set when that was all."""
        self._edit(self._place(record), keep=False)

    @abstractmethod
    def _read(self, place: Place) -> Texts[V]:
        """The set; without values, and with our TTL, when there is none."""

    @abstractmethod
    def _write(self, place: Place, edit: Edit[V]) -> dict[str, str] | None:
        """Make the edit only if the set is still as it was read, and return quietly when it is not.

        What is returned for a value that was added is its state.
        """

    @abstractmethod
    def _plain(self, value: V) -> str:
        """The text of a value as the API writes it."""

    @abstractmethod
    def _written(self, text: str) -> V:
        """A text as the API writes it."""

    def _shows(self, value: V) -> bool:
        """Whether the DNS serves the value; some APIs keep values that are switched off."""
        return True

    def _place(self, record: Record) -> Place:
        zone, zone_id = self._zones.of(record)
        return Place(zone=zone, zone_id=zone_id, record=record)

    def _edit(self, place: Place, *, keep: bool) -> dict[str, str] | None:
        states: list[dict[str, str] | None] = [None]

        def read() -> Edit[V]:
            texts = self._read(place)
            return Edit(before=texts, after=texts)

        def change(edit: Edit[V]) -> Edit[V]:
            there = [value for value in edit.before.values if self._plain(value) == place.value]
            if (bool(there) and all(map(self._shows, there))) if keep else not there:
                return edit
            others = tuple(value for value in edit.before.values if value not in there)
            added = (self._written(place.value),) if keep else ()
            return replace(edit, after=replace(edit.before, values=others + added))

        rewrite(place.record.fqdn, self._sleep, read, change, lambda edit: states.append(self._write(place, edit)))
        return states[-1]
