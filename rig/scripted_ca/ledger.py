"""What a test counts: per exact name set, per kind of request, and a journal of requests."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

_JOURNAL_KEPT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request. `at` is the CA's clock on arrival, `order` counts from the start of the process."""

    order: int
    at: float
    method: str
    kind: str
    path: str
    names: str
    status: int
    """0 when the connection was reset instead of answered."""
    user_agent: str


def name_set(names: Iterable[str]) -> str:
    """Give the text under which a set of names is counted."""
    return ",".join(sorted(set(names)))


class Ledger:
    """Counters and journal; `reset` empties them and leaves the CA's records alone."""

    def __init__(self) -> None:
        self._sequence = 0
        self.reset()

    def reset(self) -> None:
        self._names: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._requests: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._journal: deque[Entry] = deque(maxlen=_JOURNAL_KEPT)
        self._in_flight = 0
        self._peak = 0

    def count(self, what: str, names: Iterable[str]) -> None:
        """Count an event of a name set.

        Events: orders, finalized, issued, downloaded, revoked, challenges, failed_authzs, replacing.
        """
        self._names[name_set(names)][what] += 1
        self._totals[what] += 1

    def total(self, what: str) -> None:
        """Count an event that has no names: accounts, nonces, nonces_refused, bugs."""
        self._totals[what] += 1

    def arrived(self, kind: str) -> int:
        self._requests[kind] += 1
        self._sequence += 1
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        return self._sequence

    def answered(self) -> None:
        self._in_flight = max(0, self._in_flight - 1)

    def enter(self, entry: Entry) -> None:
        self._journal.append(entry)

    def snapshot(self) -> dict[str, Any]:
        return {
            "names": {names: dict(counts) for names, counts in self._names.items()},
            "requests": dict(self._requests),
            "totals": dict(self._totals),
            "requests_in_flight_peak": self._peak,
        }

    def journal(self) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self._journal]
