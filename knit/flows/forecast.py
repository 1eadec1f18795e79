"""What is left of a CA's limits, and when so many more certificates could be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from knit.core.budget import BucketKey
from knit.core.limits import Limit, Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import NOTHING, Rules
from knit.core.model.issuer import Terms
from knit.flows.deciding import Paces
from knit.flows.room import NeededOrder, Room, model_of

LAST = CertId(2**62)
"""Ids from here on are of certificates that are only asked about: after all that wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One bucket of one issuer. `left` tokens are there, and it is full again at `full_at`, where it is not."""

    issuer: str
    key: BucketKey
    rate: Rate
    left: int
    held: int
    full_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Had:
    """When so many more certificates are had: `now` of them at once, the last one at `at`, held up by `limit`."""

    wanted: int
    now: int
    at: datetime
    limit: BucketKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The flow with its ports."""

    store: Paces
    room: Room
    rules: Rules

    def left(self, now: datetime) -> Sequence[Left]:
        """Every bucket that is not full, and those of accounts."""
        levels = self.room.store.every()
        return [one for terms in self.rules.issuers for one in self._left(terms, sorted(levels), now)]

    def _left(self, terms: Terms, keys: Sequence[BucketKey], now: datetime) -> Sequence[Left]:
        rates = model_of(terms).rates
        own = {BucketKey(terms.directory, Limit.ORDERS, "")} if Limit.ORDERS in rates else set()
        shown = sorted(own | {key for key in keys if key.directory == terms.directory and key.limit in rates})
        levels = self.room.store.levels(shown)
        ledger = self.room.ledger_of({key: rates[key.limit] for key in shown}, now)
        found = []
        for key in shown:
            full_at, level = ledger.full_at(key, now), levels.get(key)
            left = ledger.left(key, rates[key.limit], now)
            held = 0 if level is None else level.held
            at = full_at if full_at > now else None
            found.append(Left(issuer=terms.name, key=key, rate=rates[key.limit], left=left, held=held, full_at=at))
        return found

    def had(self, count: int, domain: str, terms: Sequence[Terms], now: datetime) -> Had:
        """When that many new certificates of this domain are had, behind those that wait already."""
        waiting = [
            NeededOrder(cert_id=one.cert_id, names=one.spec.names, terms=self.rules.terms_of(one.spec), state=one.state)
            for one in self.store.candidates_of(list(self.room.store.waiting(now)))
            if one.state.attempt is None
        ]
        more = [
            NeededOrder(
                cert_id=CertId(LAST + number), names=(f"host-{number}.{domain}",), terms=tuple(terms), state=NOTHING
            )
            for number in range(count)
        ]
        turns = self.room.turns([*waiting, *more], now)
        found = sorted((turns[one.cert_id] for one in more), key=lambda turn: turn.at)
        return Had(wanted=count, now=sum(turn.at <= now for turn in found), at=found[-1].at, limit=found[-1].limit)
