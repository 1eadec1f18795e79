"""What a pass would do now, or at another time, if nothing happened until then. Nothing is changed, nothing claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from knit.core import installation, issuers
from knit.core.budget import BucketKey
from knit.core.limits import Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import Resting, Rules
from knit.core.model.verdict import Act, Verdict
from knit.flows.deciding import Deciding
from knit.flows.room import Room
from knit.ports.issuing import IssuerBook
from knit.ports.passes import Passes
from knit.ports.publication import Publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the orders of one pass take from one bucket, and what is in it before."""

    key: BucketKey
    rate: Rate
    tokens: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pass that has not been made.

    `verdicts` are of all certificates that it looks at, the most urgent first; `resting` of the others. `unread` rows
    are new, or were changed by other software: the pass reads them, and decides then. `taken_over` have a published
    value that is to be recorded. `orphans` were removed or disabled and have something left to end. `pruned` are keys
    whose values go. `refused` says why an issuer issues nothing here.
    """

    at: datetime
    verdicts: Sequence[Verdict]
    resting: Sequence[Resting]
    unread: Sequence[CertId]
    taken_over: Sequence[CertId]
    orphans: Sequence[CertId]
    pruned: Sequence[str]
    spending: Sequence[Spending]
    refused: Mapping[str, str]

    def of(self, act: Act) -> Sequence[Verdict]:
        """The certificates about which the pass would do this."""
        return [one for one in self.verdicts if one.act is act]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """The flow with its ports. `installation` is our id."""

    installation: str
    store: Passes
    memory: IssuerBook
    publication: Publication
    room: Room
    rules: Rules

    def plan(self, at: datetime) -> Plan:
        """What the next pass does, made at this time.

        Raises Unreachable when PostgreSQL or Valkey cannot be asked, and ForeignValkey when the Valkey is another
        installation's. Whether values that are there are sound a pass finds out once a day; this does not look.
        """
        found = self.publication.installation()
        if found is not None and found != self.installation:
            installation.refuse(found, self.publication.place)
        survey = self.publication.survey()
        present = survey.members - survey.missing
        unread = frozenset(self.store.unread())
        taken_over = frozenset(spec.id for spec in self.store.unrecorded() if spec.valkey_key in present)
        unpublished = self.store.published_keys() - present
        refused = self._refused()
        candidates = [
            one for one in self.store.candidates(self.rules, unpublished, at) if one.cert_id not in unread | taken_over
        ]
        deciding = Deciding(store=self.store, room=self.room, rules=self.rules, refused=refused)
        verdicts = deciding.verdicts(candidates, at)
        looked_at = {one.cert_id for one in verdicts} | unread | taken_over
        return Plan(
            at=at,
            verdicts=verdicts,
            resting=[one for one in self.store.resting(at) if one.cert_id not in looked_at],
            unread=sorted(unread),
            taken_over=sorted(taken_over),
            orphans=self.store.orphaned_leftovers(),
            pruned=self._pruned(),
            spending=self._spending(verdicts, at),
            refused=refused,
        )

    def _refused(self) -> Mapping[str, str]:
        found = ((one.name, issuers.refusal(one, self.memory.recall(one.name))) for one in self.rules.issuers)
        return {name: why for name, why in found if why is not None}

    def _pruned(self) -> Sequence[str]:
        asked = self.store.removals().keys
        return sorted(key for key, one in self.publication.look(sorted(asked)).items() if one.token)

    def _spending(self, verdicts: Sequence[Verdict], at: datetime) -> Sequence[Spending]:
        costs = [cost for one in verdicts if one.act is Act.RENEW for cost in one.costs]
        ledger = self.room.ledger(costs, at)
        tokens: dict[BucketKey, int] = {}
        for cost in costs:
            tokens[cost.key] = tokens.get(cost.key, 0) + 1
        rates = {cost.key: cost.rate for cost in costs}
        return [
            Spending(key=key, rate=rates[key], tokens=count, left=ledger.left(key, rates[key], at))
            for key, count in sorted(tokens.items())
        ]
