"""What a pass decides about certificates that may be due: the same for a pass, and for a plan of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from knit.core import brake, budget, imported, renewal
from knit.core.brake import MASSED, Massed, Pace
from knit.core.imported import Needed, is_imported
from knit.core.model.certificate import CertId
from knit.core.model.decision import NOTHING, Candidate, Due, Newcomer, Reason, Rules
from knit.core.model.issuer import Terms
from knit.core.model.verdict import Act, Verdict
from knit.core.turns import Turn
from knit.core.why import HELD_BACK
from knit.flows.room import NeededOrder, Room, model_of


class Paces(Protocol):
    """What is asked of PostgreSQL only where something is due for another reason than time."""

    def pace(self, reasons: Iterable[str], at: datetime) -> Pace:
        """How many orders were begun for one of these reasons in the hour before, or in place of lost ones."""

    def candidates_of(self, ids: Sequence[CertId]) -> Iterable[Candidate]:
        """These certificates, whatever their schedule says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """The flow with its ports. It changes nothing. `refused` says why an issuer issues nothing here, by its name."""

    store: Paces
    room: Room
    rules: Rules
    refused: Mapping[str, str] = field(default_factory=dict)

    def verdicts(self, candidates: Iterable[Candidate | Newcomer], now: datetime) -> Sequence[Verdict]:
        """One for each of ours, the most urgent first; and for each that waits for room, where that has changed."""
        found, orders, massed = self._each(candidates, now)
        found |= self._held_back(found, massed, now)
        asking = {cert_id: order for cert_id, order in orders.items() if found[cert_id].act is Act.RENEW}
        found |= self._over_budget(found, asking, now)
        return sorted(found.values(), key=lambda one: one.rank)

    def _each(
        self, candidates: Iterable[Candidate | Newcomer], now: datetime
    ) -> tuple[dict[CertId, Verdict], dict[CertId, NeededOrder], list[Massed]]:
        """Of each by itself: the verdict, the order that it needs, and what the brake counts of it."""
        found: dict[CertId, Verdict] = {}
        orders: dict[CertId, NeededOrder] = {}
        massed: list[Massed] = []
        counting = self._counting()
        for one in filter(self._ours, candidates):
            verdict = found[one.cert_id] = self._verdict(one, now)
            if verdict.act is Act.RENEW:
                if order := _order(one, counting):
                    orders[one.cert_id] = order
                if early := self._massed(one, verdict, now):
                    massed.append(early)
        return found, orders, massed

    def _verdict(self, one: Candidate | Newcomer, now: datetime) -> Verdict:
        if is_imported(one.issuer if isinstance(one, Newcomer) else one.spec.issuer):
            return _imported(one, now)
        if isinstance(one, Newcomer):
            return Verdict(
                cert_id=one.cert_id,
                names_key=one.names_key,
                act=Act.RENEW,
                rank=renewal.rank(NOTHING, now),
                reason=Reason.NEVER_ISSUED,
                asked=one.asked,
            )
        spec, state = one.spec, one.state
        found = renewal.decide(spec, state, self.rules, now)
        base = Verdict(
            cert_id=spec.id,
            names_key=spec.names_key,
            act=Act.CLEAN if one.leftovers else Act.WAIT,
            rank=renewal.rank(state, now),
            leftovers=one.leftovers,
            asked=one.asked,
        )
        if isinstance(found, Due):
            return replace(base, act=Act.RENEW, reason=found.reason)
        again = renewal.held_back(state, now)
        return replace(base, until=found.until, why=found.reason, lost_again=again)

    def _massed(self, one: Candidate | Newcomer, verdict: Verdict, now: datetime) -> Massed | None:
        """The certificate as the brake counts it, when it is due before its time."""
        if isinstance(one, Newcomer) or verdict.reason not in MASSED or one.state.issued is None:
            return None
        turn_at, _ = renewal.turn(one.spec, one.state, one.state.issued, self.rules.policy)
        if turn_at <= now:
            return None
        return Massed(cert_id=one.cert_id, not_after=one.state.issued.not_after, turn_at=turn_at)

    def _held_back(
        self, found: Mapping[CertId, Verdict], massed: Sequence[Massed], now: datetime
    ) -> Mapping[CertId, Verdict]:
        """A lost Valkey, or another directory, must not order everything at once."""
        if not massed:
            return {}
        released = brake.released(massed, self.store.pace(sorted(MASSED), now))
        return {
            one.cert_id: replace(
                found[one.cert_id],
                act=Act.HELD_BACK,
                until=one.again(now),
                why=_held_back(found[one.cert_id], one.again(now)),
            )
            for one in massed
            if one.cert_id not in released
        }

    def _over_budget(
        self, found: Mapping[CertId, Verdict], asking: Mapping[CertId, NeededOrder], now: datetime
    ) -> Mapping[CertId, Verdict]:
        """Those that wait; and where there are any, those that waited for the same before, so that each has its turn.

        Of these only what goes now, or waits for something else from now on.
        """
        turns = self.room.turns(asking.values(), now)
        if all(turn.at <= now for turn in turns.values()):
            return {cert_id: replace(found[cert_id], costs=turns[cert_id].ask.costs) for cert_id in turns}
        short = {budget.said(turn.limit) for turn in turns.values() if turn.at > now and turn.limit is not None}
        waits = self.room.store.waiting(now, short)
        others = [cert_id for cert_id in waits if cert_id not in found]
        waited = list(filter(self._ours, self.store.candidates_of(others)))
        if not waited:
            return {cert_id: _seated(found[cert_id], turn, now) for cert_id, turn in turns.items()}
        before, more, _ = self._each(waited, now)
        turns = self.room.turns({**asking, **more}.values(), now)
        known = {**before, **found}
        seated = {cert_id: _seated(known[cert_id], turn, now) for cert_id, turn in turns.items()}
        return {
            cert_id: one
            for cert_id, one in seated.items()
            if cert_id in found or one.wait is None or not budget.as_before(one.wait, waits[cert_id])
        }

    def _ours(self, one: Candidate | Newcomer) -> bool:
        """Whether a certificate is for this process to issue: the first of its issuers is not refused here."""
        if not self.refused:
            return True
        wanted = self.rules.terms_named(one.issuer if isinstance(one, Newcomer) else one.spec.issuer)
        return not wanted or wanted[0].name not in self.refused

    def _counting(self) -> Callable[[str], tuple[Terms, ...]]:
        """The issuers that a row names, unless one of them counts nothing: then there is always room."""
        found: dict[str, tuple[Terms, ...]] = {}

        def counting(named: str) -> tuple[Terms, ...]:
            if named not in found:
                terms = self.rules.terms_named(named)
                found[named] = terms if all(model_of(one).rates for one in terms) else ()
            return found[named]

        return counting


def _order(one: Candidate | Newcomer, counting: Callable[[str], tuple[Terms, ...]]) -> NeededOrder | None:
    """The order that it needs, where a limit counts it: an open attempt goes on with its own."""
    issuer, state = (one.issuer, NOTHING) if isinstance(one, Newcomer) else (one.spec.issuer, one.state)
    terms = () if state.attempt is not None else counting(issuer)
    if not terms:
        return None
    names = tuple(one.names_key.split(",")) if isinstance(one, Newcomer) else one.spec.names
    return NeededOrder(cert_id=one.cert_id, names=names, terms=terms, state=state)


def _imported(one: Candidate | Newcomer, now: datetime) -> Verdict:
    """Nothing is ordered for it. A worker has to do with it only where something is left of what was ordered before."""
    if isinstance(one, Newcomer):
        rank = renewal.rank(NOTHING, now)
        lacking = Verdict(cert_id=one.cert_id, names_key=one.names_key, act=Act.IMPORT, rank=rank)
        return replace(lacking, why=imported.NONE_YET.said, lack=imported.NONE_YET.lack)
    state, found = one.state, imported.decide(one.spec, one.state, now)
    stray = state.attempt is not None and imported.is_stray(state.attempt, now)
    base = Verdict(
        cert_id=one.cert_id,
        names_key=one.spec.names_key,
        act=Act.CLEAN if one.leftovers or stray else Act.WAIT,
        rank=renewal.rank(state, now),
        leftovers=one.leftovers,
        asked=one.asked,
    )
    if not isinstance(found, Needed):
        return replace(base, until=found, why=None if found is None else renewal.NOT_DUE)
    act = base.act if stray else Act.IMPORT
    return replace(base, act=act, until=found.until, why=found.said, lack=found.lack)


def _seated(verdict: Verdict, turn: Turn, now: datetime) -> Verdict:
    if turn.at <= now or turn.limit is None:
        return replace(verdict, costs=turn.ask.costs)
    until = budget.look_again(budget.rounded(turn.at, now), turn.ask.ends, now)
    return replace(verdict, act=Act.OVER_BUDGET, until=until, why=budget.said(turn.limit), costs=turn.ask.costs)


def _held_back(verdict: Verdict, again: datetime) -> str:
    at = again.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cause = "its published value is lost" if verdict.reason is Reason.NOT_PUBLISHED else str(verdict.reason)
    others = "as are many others (`knit renew --confirm-mass` lets all go)"
    return f"{cause}, {others}: {HELD_BACK} {at}"
