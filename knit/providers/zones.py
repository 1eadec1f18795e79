"""Which of the zones a provider keeps for us is the one to write a record into."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from knit.core.model.challenge import Record
from knit.errors import CredentialsRejected, Refused
from knit.ports.process import Clock

Z = TypeVar("Z")

_KEPT = timedelta(minutes=10)


def candidates(record: Record) -> Iterator[str]:
    """Zone names to try: the zone cut the DNS shows, then every parent of the name, longest first.

    The DNS comes first because a provider may also keep a zone that nobody has delegated to it.
    """
    yield record.zone
    labels = record.fqdn.split(".")
    parents = (".".join(labels[start:]) for start in range(len(labels) - 1))
    yield from (name for name in parents if name != record.zone)


def relative(fqdn: str, zone: str) -> str:
    """The name inside its zone: `_acme-challenge.www`, or an empty text at the zone's own name."""
    return "" if fqdn == zone else fqdn.removesuffix(f".{zone}")


class Zones(Generic[Z]):
    """Finds, and remembers for ten minutes, the provider's zone for a record. Z is what the solver keeps of a zone."""

    def __init__(self, provider: str, lookup: Callable[[str], Z | None], clock: Clock, *, hint: str = "") -> None:
        """`hint` ends the refusal, where an API hides the zones that a credential may not see."""
        self._provider = provider
        self._hint = f"; {hint}" if hint else ""
        self._lookup = lookup
        self._clock = clock
        self._found: dict[str, tuple[datetime, Z]] = {}
        self._lock = threading.Lock()

    def of(self, record: Record) -> tuple[str, Z]:
        """The zone's name and what `lookup` gave for it; Refused when the account has none that fits.

        Some APIs say of a name that is none of the account's zones that it is forbidden: that is raised only where none
        of the others is to be had either.
        """
        forbidden: CredentialsRejected | None = None
        for name in candidates(record):
            try:
                found = self._zone(name)
            except CredentialsRejected as error:
                if not error.forbidden:
                    raise
                forbidden = forbidden or error
                continue
            if found is not None:
                return name, found
        if forbidden is not None:
            raise forbidden
        said = f"{self._provider}: this account has no zone for {record.fqdn} (looked for {record.zone} first)"
        raise Refused(said + self._hint)

    def _zone(self, name: str) -> Z | None:
        now = self._clock()
        with self._lock:
            kept = self._found.get(name)
        if kept is not None and kept[0] > now:
            return kept[1]
        zone = self._lookup(name)
        if zone is not None:
            with self._lock:
                self._found[name] = (now + _KEPT, zone)
        return zone


def listed(fetch: Callable[[], Mapping[str, Z]], clock: Clock) -> Callable[[str], Z | None]:
    """A `lookup` for APIs that can only list all zones: one listing answers all questions of the next half minute."""
    lock = threading.Lock()
    state: list[tuple[datetime, Mapping[str, Z]]] = []

    def lookup(name: str) -> Z | None:
        with lock:
            if not state or state[0][0] <= clock():
                state[:] = [(clock() + timedelta(seconds=30), fetch())]
            return state[0][1].get(name)

    return lookup
