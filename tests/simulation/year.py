"""Months on a simulated clock: the decisions of passes and workers, against a CA that counts by its own book."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import ClassVar

from knit.core import ari, budget, choice, renewal, retry
from knit.core.brake import Pace
from knit.core.budget import BucketKey, Cost, Level, most
from knit.core.choice import Standing
from knit.core.limits import SPENT_BY_ORDERS, Rate
from knit.core.model.attempt import Attempt, AttemptId, Step
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.model.decision import Candidate, CertState, Due, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.model.keys import KeyType
from knit.core.model.verdict import Act
from knit.flows.deciding import Deciding
from knit.flows.room import Room

START = datetime(2026, 11, 23, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
CLOSEST = timedelta(seconds=30)
"""Two passes for planned instants are so far apart."""


class Clock:
    """The simulated time."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class TheCA:
    """A CA with Let's Encrypt's published limits: buckets of its own, in tokens, filled as time passes.

    `away` are times without an answer, by profile; `lives` says how long a certificate of a profile lives.
    """

    directory: str
    lives: Callable[[str, datetime], timedelta]
    counts: bool = True
    away: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    refuses: Collection[str] = ()
    buckets: dict[tuple[str, str], tuple[float, datetime]] = field(default_factory=dict)
    known: dict[str, datetime] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    orders: list[tuple[datetime, str]] = field(default_factory=list)
    limited: int = 0

    SIZES: ClassVar = {"orders": (300, 36.0), "domain": (50, 12096.0), "set": (5, 120960.0), "failures": (5, 720.0)}

    def is_away(self, profile: str, now: datetime) -> bool:
        return any(one == profile and since <= now < until for one, since, until in self.away)

    def _take(self, kind: str, subject: str, now: datetime, *, spend: bool) -> bool:
        size, seconds = self.SIZES[kind]
        level, at = self.buckets.get((kind, subject), (float(size), now))
        level = min(float(size), level + (now - at).total_seconds() / seconds)
        self.buckets[kind, subject] = (level - 1 if spend else level, now)
        return level > 1 - 1e-6

    def order(self, spec: CertSpec, domain: str, now: datetime, replaces: str | None = None) -> bool:
        """Whether it gives an order; it is one too many where it does not. What `replaces` is not counted."""
        self.orders.append((now, spec.names_key))
        assert replaces not in self.replaced, f"{replaces} is replaced already"
        if replaces is not None:
            self.replaced.add(replaces)
        if replaces is not None or not self.counts:
            return True
        renews = spec.names_key in self.known and now - self.known[spec.names_key] < 90 * DAY
        asked = [("set", spec.names_key)] + ([] if renews else [("orders", ""), ("domain", domain)])
        asked.append(("failures", spec.names[0]))
        good = all(self._take(kind, subject, now, spend=False) for kind, subject in asked)
        if not good:
            self.limited += 1
        elif not renews:
            self._take("orders", "", now, spend=True)
        return good

    def prove(self, spec: CertSpec, now: datetime) -> bool:
        """Whether it sees the proof of each name."""
        if spec.names[0] not in self.refuses:
            return True
        self._take("failures", spec.names[0], now, spend=True)
        return False

    def issue(self, spec: CertSpec, domain: str, now: datetime, replaces: str | None = None) -> None:
        """It issues a certificate for an order that it has given."""
        if self.counts and replaces is None:
            if spec.names_key not in self.known or now - self.known[spec.names_key] >= 90 * DAY:
                self._take("domain", domain, now, spend=True)
            self._take("set", spec.names_key, now, spend=True)
        self.known[spec.names_key] = now


@dataclass(slots=True)
class Buckets:
    """knit_budget, in memory: what its triggers do (tests/integration/store/test_budget.py) to the same effect."""

    full_at: dict[BucketKey, datetime] = field(default_factory=dict)
    held: dict[BucketKey, int] = field(default_factory=dict)
    waits: dict[CertId, Wait] = field(default_factory=dict)

    def levels(self, keys: Collection[BucketKey]) -> Mapping[BucketKey, Level]:
        return {
            key: Level(self.full_at.get(key, START), self.held.get(key, 0))
            for key in keys
            if key in self.full_at or self.held.get(key)
        }

    def every(self) -> Mapping[BucketKey, Level]:
        return self.levels({*self.full_at, *self.held})

    def exhausted(self, key: BucketKey, rate: Rate, until: datetime) -> None:
        raise AssertionError("the CA refuses nothing that is asked here")

    def wait(self, waits: Mapping[CertId, Wait], rules: Rules) -> None:
        self.waits |= waits

    def waiting(self, at: datetime, reasons: Collection[str] | None = None) -> Mapping[CertId, Wait]:
        return {cert_id: wait for cert_id, wait in self.waits.items() if reasons is None or wait.reason in reasons}

    def hold(self, costs: Iterable[Cost], share: float, now: datetime) -> None:
        for cost in costs:
            full_at, held = max(self.full_at.get(cost.key, now), now), self.held.get(cost.key, 0)
            assert full_at + cost.rate.every * (held + 1) <= now + cost.rate.every * most(cost.rate, share)
        for cost in costs:
            self.held[cost.key] = self.held.get(cost.key, 0) + 1

    def settle(self, costs: Iterable[Cost], now: datetime, *, spend: bool) -> None:
        for cost in costs:
            self.held[cost.key] -= 1
            if spend:
                self.full_at[cost.key] = max(self.full_at.get(cost.key, now), now) + cost.rate.every


@dataclass(slots=True)
class Row:
    """One certificate, and what PostgreSQL knows of it."""

    spec: CertSpec
    domain: str
    state: CertState = field(default_factory=CertState)
    look_at: datetime = START
    due_since: datetime | None = None
    costs: tuple[Cost, ...] = ()
    down: dict[str, datetime] = field(default_factory=dict)
    tries: list[datetime] = field(default_factory=list)
    issued: list[tuple[datetime, datetime, datetime]] = field(default_factory=list)
    """When it was due, when it was issued, and when what it replaced would have expired."""


class Year:
    """The whole: certificates, CAs by directory, and knit between them. It ends at `until`."""

    def __init__(self, rows: Sequence[Row], rules: Rules, cas: Mapping[str, TheCA]) -> None:
        self.rows = {row.spec.id: row for row in rows}
        self.rules, self.cas = rules, cas
        self.clock, self.buckets = Clock(), Buckets()
        self.room = Room(store=self.buckets, clock=self.clock)
        self.deciding = Deciding(store=self, room=self.room, rules=rules)
        self.agenda: list[tuple[datetime, CertId]] = []
        self.expired: list[CertId] = []
        self.passes = 0
        for row in rows:
            self._look(row, row.look_at)

    def pace(self, reasons: Iterable[str], at: datetime) -> Pace:
        raise AssertionError("nothing is due for another reason than time")

    def candidates_of(self, ids: Sequence[CertId]) -> Iterable[Candidate]:
        return [self._candidate(self.rows[cert_id]) for cert_id in ids]

    def _candidate(self, row: Row) -> Candidate:
        return Candidate(spec=row.spec, state=row.state)

    def run(self, until: datetime) -> None:
        while self.agenda and self.agenda[0][0] < until:
            self.clock.now = max(self.agenda[0][0], self.clock.now + CLOSEST)
            found = set()
            while self.agenda and self.agenda[0][0] <= self.clock.now:
                at, cert_id = heappop(self.agenda)
                if self.rows[cert_id].look_at == at:
                    found.add(cert_id)
            self._pass([self.rows[cert_id] for cert_id in sorted(found)])
        self.clock.now = max(until, self.clock.now)

    def _look(self, row: Row, at: datetime) -> None:
        row.look_at = at
        heappush(self.agenda, (at, row.spec.id))

    def _pass(self, rows: Sequence[Row]) -> None:
        self.passes += 1
        for row in rows:
            self.buckets.waits.pop(row.spec.id, None)
        for one in self.deciding.verdicts(map(self._candidate, rows), self.clock.now):
            row = self.rows[one.cert_id]
            if one.act is Act.RENEW:
                self.buckets.waits.pop(one.cert_id, None)
                self._renew(row)
            elif one.until is not None:
                if one.act is Act.OVER_BUDGET:
                    self.buckets.waits[one.cert_id] = Wait(until=one.until, reason=one.why or "")
                    row.due_since = row.due_since or self.clock.now
                self._look(row, one.until)

    def _renew(self, row: Row) -> None:
        """What a worker does of it."""
        now, spec = self.clock.now, row.spec
        verdict = renewal.decide(spec, row.state, self.rules, now)
        assert isinstance(verdict, Due)
        row.due_since = row.due_since or now
        terms = self._chosen(row)
        if self._begin(row, terms):
            self._order(row, self.cas[terms.directory], now)

    def _chosen(self, row: Row) -> Terms:
        wanted = self.rules.terms_of(row.spec)
        if len(wanted) == 1:
            return wanted[0]
        return choice.choose(wanted, {one.directory: self._standing(row, one) for one in wanted}, self.clock.now)

    def _standing(self, row: Row, terms: Terms) -> Standing:
        wait = self._wait(row, terms)
        return Standing(down_at=row.down.get(terms.directory), waits_until=None if wait is None else wait.until)

    def _wait(self, row: Row, terms: Terms) -> Wait | None:
        costs = self.room.costs(row.spec.names, row.state, terms, self.clock.now)
        return self.room.until(costs, budget.share(row.state, self.clock.now))

    def _begin(self, row: Row, terms: Terms) -> bool:
        wait = self._wait(row, terms)
        if wait is not None:
            self.buckets.waits[row.spec.id] = wait
            self._look(row, wait.until)
            return False
        row.costs = self.room.costs(row.spec.names, row.state, terms, self.clock.now)
        self.buckets.hold(row.costs, budget.share(row.state, self.clock.now), self.clock.now)
        attempt = Attempt(
            id=AttemptId(1),
            cert_id=row.spec.id,
            step=Step.PLANNED,
            reason="",
            names=row.spec.names,
            provider="exec",
            issuer=terms.name,
            directory=terms.directory,
            key_type=KeyType.EC256,
            profile=row.spec.profile,
            started_at=self.clock.now,
        )
        row.state = replace(row.state, attempt=attempt)
        return True

    def _order(self, row: Row, ca: TheCA, now: datetime) -> None:
        spec = row.spec
        if ca.is_away(spec.profile or "", now):
            # Without an order it is as good as over: it gives back what it holds, and needs room again.
            row.down[ca.directory] = now
            self._end(row, spend=False)
            self._failed(row)
            return
        row.tries.append(now)
        replaces = ari.replaced(row.state, ca.directory, spec.names)
        assert ca.order(spec, row.domain, now, replaces), f"{spec.names_key} at {now}: one order too many"
        by_order = tuple(cost for cost in row.costs if cost.key.limit in SPENT_BY_ORDERS)
        self.buckets.settle(by_order, now, spend=True)
        row.costs = tuple(cost for cost in row.costs if cost.key.limit not in SPENT_BY_ORDERS)
        if not ca.prove(spec, now):
            self._end(row, spend=False)
            self._failed(row)
            return
        ca.issue(spec, row.domain, now, replaces)
        self._end(row, spend=True)
        self._published(row, ca, now)

    def _end(self, row: Row, *, spend: bool) -> None:
        self.buckets.settle(row.costs, self.clock.now, spend=spend)
        row.costs = ()
        row.state = replace(row.state, attempt=None)

    def _failed(self, row: Row) -> None:
        failures = row.state.failures + 1
        at = retry.next_try(row.spec.id, failures, self.clock.now)
        row.state = replace(row.state, failures=failures, retry_at=at)
        self._look(row, at)

    def _published(self, row: Row, ca: TheCA, now: datetime) -> None:
        before = row.state.issued
        if before is not None and before.not_after <= now:
            self.expired.append(row.spec.id)
        ends = now + ca.lives(row.spec.profile or "", now)
        row.issued.append((row.due_since or now, now, ends if before is None else before.not_after))
        issued = self._issued(row, ca, now - HOUR, ends - HOUR)
        row.state, row.due_since, row.down = CertState(issued=issued), None, {}
        verdict = renewal.decide(row.spec, row.state, self.rules, now)
        assert isinstance(verdict, Wait)
        self._look(row, verdict.until)

    def _issued(self, row: Row, ca: TheCA, born: datetime, ends: datetime) -> Issued:
        return issued_at(row.spec, ca.directory, born, ends)

    def dead(self, now: datetime) -> list[CertId]:
        """Certificates that have expired and were not replaced."""
        return [row.spec.id for row in self.rows.values() if row.state.issued and row.state.issued.not_after <= now]


def issued_at(spec: CertSpec, directory: str, born: datetime, ends: datetime) -> Issued:
    """Facts of a certificate of this life."""
    return Issued(
        cert_id=spec.id,
        names_key=spec.names_key,
        issuer="",
        directory=directory,
        key_type="ec256",
        profile=spec.profile,
        serial="01",
        ari_id=None,
        not_before=born,
        not_after=ends,
        issued_at=born + HOUR,
        sha256="",
        generation=1,
        valkey_key=spec.valkey_key,
        cert_path=spec.cert_path,
        key_path=spec.key_path,
    )


def cert(number: int, name: str, domain: str, *, profile: str, issuer: str = "le") -> Row:
    """One certificate of the list."""
    spec = CertSpec(
        id=CertId(number),
        names=(name,),
        provider="exec",
        valkey_key=f"certs:{number}",
        cert_path=f"/{number}.crt",
        key_path=f"/{number}.key",
        issuer=issuer,
        profile=profile,
    )
    return Row(spec=spec, domain=domain)
