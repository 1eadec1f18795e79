"""Whether a CA's limits leave room for orders: for one that a worker begins, and for all that a pass finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from knit.core import ari, budget, limits
from knit.core.budget import BucketKey, Cost, Ledger
from knit.core.domains import of_names
from knit.core.limits import SPENT_BY_ORDERS, Limit, Model, Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import CertState, Wait
from knit.core.model.issuer import Terms
from knit.core.names import key_of
from knit.core.turns import Ask, Turn, turns
from knit.ports.budget import Budgets
from knit.ports.process import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededOrder:
    """A certificate that needs an order, from one of these issuers."""

    cert_id: CertId
    names: tuple[str, ...]
    terms: tuple[Terms, ...]
    state: CertState


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The flow with its ports."""

    store: Budgets
    clock: Clock

    def costs(
        self, names: tuple[str, ...], state: CertState, terms: Terms, now: datetime, *, spared: bool = True
    ) -> tuple[Cost, ...]:
        """What an order for these names costs there. Without `spared`: where it may not replace another."""
        model, directory = model_of(terms), terms.directory
        if not model.rates:
            return ()
        renewal = budget.is_renewal(state.issued, directory, key_of(names), now)
        replaces = spared and ari.is_spared(state, directory, names)
        return budget.costs(model, directory, names, renewal=renewal, replaces=replaces)

    def until(self, costs: Sequence[Cost], share: float) -> Wait | None:
        """None where there is room now; else when there is, as far as can be said, and what it waits for."""
        if not costs:
            return None
        now = self.clock()
        ledger = self.ledger(costs, now)
        at, key = max((ledger.ready(cost, share, now), cost.key) for cost in costs)
        return None if at <= now else Wait(until=at, reason=budget.said(key))

    def ledger(self, costs: Iterable[Cost], now: datetime) -> Ledger:
        """The buckets of these costs as they are."""
        return self.ledger_of({cost.key: cost.rate for cost in costs}, now)

    def ledger_of(self, rates: Mapping[BucketKey, Rate], now: datetime) -> Ledger:
        """The buckets with these rates as they are."""
        return Ledger(self.store.levels(rates), rates, now)

    def turns(self, wanted: Iterable[NeededOrder], now: datetime) -> Mapping[CertId, Turn]:
        """When each of these has room, at whichever of its issuers that is soonest.

        What comes from no issuer that is known here is not among them.
        """
        asked = [self._asks(one, now) for one in wanted if one.terms]
        costs = (cost for asks in asked for ask in asks for cost in ask.costs)
        ledger = self.ledger(costs, now)
        found: dict[CertId, Turn] = {}
        place = 0
        while asked:
            here = turns((asks[place] for asks in asked), ledger, now)
            for turn in here:
                known = found.get(turn.ask.cert_id)
                if known is None or turn.at < known.at:
                    found[turn.ask.cert_id] = turn
            place += 1
            asked = [asks for asks in asked if len(asks) > place and found[asks[0].cert_id].at > now]
        return found

    def _asks(self, one: NeededOrder, now: datetime) -> tuple[Ask, ...]:
        """At each issuer, in order."""
        return tuple(self._ask(one, terms, now) for terms in one.terms)

    def _ask(self, one: NeededOrder, terms: Terms, now: datetime) -> Ask:
        costs, issued = self.costs(one.names, one.state, terms, now), one.state.issued
        return Ask(
            cert_id=one.cert_id,
            costs=costs,
            share=budget.share(one.state, now),
            ends=now if issued is None else issued.not_after,
            group=_group(costs, one.names),
        )


def _group(costs: Sequence[Cost], names: tuple[str, ...]) -> tuple[str, ...]:
    """Who has turns of their own, where there are turns: what an account has is had by all of its domains."""
    if not any(cost.key.limit in SPENT_BY_ORDERS for cost in costs):
        return ()
    domains = tuple(cost.key.subject for cost in costs if cost.key.limit is Limit.DOMAIN)
    return domains or of_names(names)


def model_of(terms: Terms) -> Model:
    """The model of an issuer's published limits."""
    return limits.of(terms.limits, terms.directory)
