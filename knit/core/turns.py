"""Whose turn it is: orders for which there is not room at once, one after the other, fair by registered domain."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from knit.core.budget import SLOW, URGENT, BucketKey, Cost, Ledger
from knit.core.limits import SPENT_BY_ORDERS, Limit
from knit.core.model.certificate import CertId

FREE, FIRST, IN_TURN, LAST = range(-1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An order that a certificate needs. `group` is what queues are fair by, `ends` when it is needed at the latest."""

    cert_id: CertId
    costs: tuple[Cost, ...]
    share: float
    ends: datetime
    group: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[datetime, int]:
        """Within its group."""
        return self.ends, self.cert_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """When there is room for an order. `limit` is what it waits for, None for one that need not wait."""

    ask: Ask
    at: datetime
    limit: BucketKey | None


def turns(asks: Iterable[Ask], ledger: Ledger, now: datetime) -> Iterator[Turn]:
    """A turn for each, those of one CA in the order of time; the ledger is charged with them.

    What expires soon comes first. Of the rest each domain has its turn, however many wait in another; what keeps
    failing comes last.
    """
    by_directory: dict[str, list[Ask]] = {}
    for ask in asks:
        if ask.costs:
            by_directory.setdefault(ask.costs[0].key.directory, []).append(ask)
        else:
            yield Turn(ask=ask, at=now, limit=None)
    for found in by_directory.values():
        yield from _Queue(ledger, now).served(found)


@dataclass(slots=True)
class _Line:
    """What waits for the same buckets, one behind the other. `own` are those that not everybody waits for."""

    kind: int
    waiting: deque[Ask] = field(default_factory=deque)
    served: int = 0
    limit: BucketKey | None = None

    @property
    def head(self) -> Ask:
        return self.waiting[0]

    def rank(self) -> tuple[int, int, tuple[datetime, int]]:
        """The line with the least goes first. An order that uses no shared bucket does not queue."""
        kind = self.kind if any(cost.key.limit in SPENT_BY_ORDERS for cost in self.head.costs) else FREE
        return kind, self.served if kind else 0, self.head.order


class _Queue:
    """The queue of one CA.

    A line is `pending` until its own buckets have a token, then `ready` for those of the account.
    """

    def __init__(self, ledger: Ledger, now: datetime) -> None:
        self._ledger = ledger
        self._now = self._at = now
        self._pending: list[tuple[datetime, int, _Line]] = []
        self._ready: list[tuple[tuple[int, int, tuple[datetime, int]], int, _Line]] = []
        self._ties = count()

    def served(self, asks: Iterable[Ask]) -> Iterator[Turn]:
        """A turn for each, as tokens come back.

        Three certificates of a.example and one of b.example wait where the account gets a token a minute. The line of
        a.example is served first (its certificate ends first), then that of b.example, which was served less often,
        then a.example twice: turns at 0, 1, 2 and 3 minutes. Has a.example no token of its own before minute 10, its
        line is pending until then, and b.example has the first turn.
        """
        for line in self._lines(asks):
            self._put(line)
        while self._pending or self._ready:
            if not self._ready:
                self._at = max(self._at, self._pending[0][0])
            self._move()
            line = self._ready[0][2]
            if not self._own_ready(line):
                heappop(self._ready)
                self._put(line)
                continue
            at = self._account_at(line)
            if at <= self._at:
                heappop(self._ready)
                yield self._serve(line)
            else:
                # Whoever gets a token of its own before that may come first.
                self._at = min(at, self._pending[0][0]) if self._pending else at

    def _lines(self, asks: Iterable[Ask]) -> Iterable[_Line]:
        lines: dict[object, _Line] = {}
        for ask in sorted(asks, key=lambda ask: ask.order):
            kind = {URGENT: FIRST, SLOW: LAST}.get(ask.share, IN_TURN)
            alone = tuple(
                cost.key for cost in ask.costs if cost.key.limit is not Limit.SET or self._waits(cost, ask.share)
            )
            lines.setdefault((kind, ask.group, alone), _Line(kind)).waiting.append(ask)
        return lines.values()

    def _waits(self, cost: Cost, share: float) -> bool:
        return self._ledger.ready(cost, share, self._now) > self._now

    def _put(self, line: _Line) -> None:
        """Behind what has its token sooner."""
        own = ((self._ledger.ready(cost, line.head.share, self._at), cost.key) for cost in _own(line.head))
        at, key = max(own, default=(self._at, None))
        if at > self._at:
            line.limit = key
        heappush(self._pending, (at, next(self._ties), line))

    def _move(self) -> None:
        while self._pending and self._pending[0][0] <= self._at:
            line = heappop(self._pending)[2]
            heappush(self._ready, (line.rank(), next(self._ties), line))

    def _own_ready(self, line: _Line) -> bool:
        return all(self._ledger.ready(cost, line.head.share, self._at) <= self._at for cost in _own(line.head))

    def _account_at(self, line: _Line) -> datetime:
        shared = (
            (self._ledger.ready(cost, line.head.share, self._at), cost.key)
            for cost in line.head.costs
            if cost.key.limit in SPENT_BY_ORDERS
        )
        at, key = max(shared, default=(self._at, None))
        if at > self._at:
            line.limit = key
        return at

    def _serve(self, line: _Line) -> Turn:
        ask = line.waiting.popleft()
        self._ledger.charge(ask.costs, self._at)
        turn = Turn(ask=ask, at=self._at, limit=line.limit if self._at > self._now else None)
        line.served += 1
        if line.waiting:
            self._put(line)
        return turn


def _own(ask: Ask) -> Iterator[Cost]:
    return (cost for cost in ask.costs if cost.key.limit not in SPENT_BY_ORDERS)
