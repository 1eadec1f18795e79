"""One pass: find out which certificates need a worker, and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

from knit.core import issuers, renewal
from knit.core.imported import EXPIRIES
from knit.core.model.certificate import CertId
from knit.core.model.decision import Census, Reason, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.model.results import PassPlan
from knit.core.model.verdict import Act, Verdict
from knit.errors import Refused
from knit.flows.belonging import Belonging
from knit.flows.deciding import Deciding
from knit.flows.room import Room
from knit.flows.values import Values
from knit.ports.issuing import IssuerMemory
from knit.ports.passes import Passes
from knit.ports.process import Clock
from knit.ports.publication import Publication

log = logging.getLogger(__name__)

NAMED = 10
"""Certificates that one line of the log names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """The flow with its ports."""

    store: Passes
    memory: IssuerMemory
    publication: Publication
    belonging: Belonging
    values: Values
    room: Room
    rules: Rules
    clock: Clock

    def run(self, *, deep: bool = False) -> PassPlan:
        """Adopt what other software wrote, look for lost values, decide. `deep` reads every value's content.

        Raises Unreachable when Postgres or Valkey cannot be asked, and ForeignValkey when they do not belong together:
        nothing is decided without both.
        """
        self._mend()
        unadoptable = self.store.adopt()
        refused = self.refusals()
        if len(refused) == len(self.rules.issuers):
            return PassPlan(renew=(), unadoptable=unadoptable, refused=next(iter(refused.values())))
        self.belonging.check()
        survey = self.publication.survey()
        present = survey.members - survey.missing
        restored = self.belonging.note_revision(survey.revision)
        self._adopt_values(present)
        published = self.store.published_keys()
        unpublished = published - present
        if self.store.deep_check_due(force=deep or restored):
            self.store.tidy()
            unpublished |= self.values.find_lost(published - unpublished)
        if unpublished:
            log.warning("published values are missing or damaged", extra={"certificates": len(unpublished)})
        now = self.clock()
        deciding = Deciding(store=self.store, room=self.room, rules=self.rules, refused=refused)
        verdicts = deciding.verdicts(self.store.candidates(self.rules, unpublished, now), now)
        self._apply(verdicts)
        due = [one for one in verdicts if one.goes]
        plan = (*(one.cert_id for one in due), *self.store.orphaned_leftovers())
        asked = frozenset(one.cert_id for one in due if one.asked)
        first = next(iter(refused.values()), None)
        count = sum(one.act is Act.RENEW for one in due)
        return PassPlan(renew=plan, unadoptable=unadoptable, due=count, asked=asked, refused=first)

    def _mend(self) -> None:
        mended = self.store.mend()
        if any(mended):
            first = ",".join(map(str, mended.certificates[:NAMED]))
            extra = {"certificates": len(mended.certificates), "first": first, "others": mended.others}
            log.warning("rows of knit's own were lost or made no sense: mended", extra=extra)

    def done(self, plan: PassPlan, asked: Sequence[CertId]) -> None:
        """Workers have been asked for these: the pass is done, and says so in one line."""
        self.store.asked(asked)
        census = self.store.passed()
        log.info(
            "%d %s, %d due, %d failing%s",
            census.certificates,
            "certificate" if census.certificates == 1 else "certificates",
            plan.due,
            census.failing,
            _next_pass(census),
        )

    def refusals(self) -> Mapping[str, str]:
        """The issuers that this process may have nothing issued by, and why; told."""
        refused = {terms.name: why for terms in self.rules.issuers if (why := self._refusal(terms))}
        for why in refused.values():
            log.error("nothing is issued", extra={"reason": why})
        return refused

    def _refusal(self, terms: Terms) -> str | None:
        why = issuers.refusal(terms, self.memory.recall(terms.name))
        return None if why is None or self.memory.correct(terms) else why

    def _apply(self, verdicts: Sequence[Verdict]) -> None:
        """Write down what was decided, and tell it."""
        waits = {one.cert_id: one.until for one in verdicts if one.until is not None and one.act is not Act.OVER_BUDGET}
        self.store.plan_checks(waits, self.rules)
        over = {one.cert_id: one.wait for one in verdicts if one.wait is not None}
        if over:
            self.room.store.wait(over, self.rules)
        for one in verdicts:
            if one.act is Act.RENEW and one.reason is not None:
                _tell_due(one.cert_id, one.names_key, one.reason, asked=one.asked)
            if one.lost_again:
                self._complain(one)
        # After the plan, which takes away what was said before.
        self._hold_back([one for one in verdicts if one.act is Act.HELD_BACK])
        self._ask_for_imports([one for one in verdicts if one.lack is not None])
        _tell_over_budget(over)

    def _complain(self, one: Verdict) -> None:
        self.store.complain([one.cert_id], Refused(renewal.LOST_AGAIN))
        extra = {"cert": one.cert_id, "names": one.names_key, "error": renewal.LOST_AGAIN, "next_try": one.until}
        log.error("lost value not issued anew", extra=extra)

    def _hold_back(self, held: Sequence[Verdict]) -> None:
        by_cause: dict[str, list[CertId]] = {}
        for one in held:
            by_cause.setdefault(one.why or "", []).append(one.cert_id)
        for why, cert_ids in by_cause.items():
            self.store.complain(cert_ids, Refused(why))
        if held:
            reasons = ", ".join(sorted({str(one.reason) for one in held}))
            extra = {"held_back": len(held), "reasons": reasons, "next_try": held[0].until}
            log.warning("mass renewal held back", extra=extra)

    def _ask_for_imports(self, lacking: Sequence[Verdict]) -> None:
        """Of one that expires a person is told once, and once when it has; of what else is wrong, at each look."""
        if not lacking:
            return
        told = self.store.tell_expiry({one.cert_id: one.lack for one in lacking if one.lack in EXPIRIES})
        for one in lacking:
            fails = one.lack is not None and one.lack.fails
            if fails:
                self.store.complain([one.cert_id], Refused(one.why))
            if one.cert_id in told or one.lack not in EXPIRIES:
                extra = {"cert": one.cert_id, "names": one.names_key, "reason": one.why}
                log.log(logging.ERROR if fails else logging.WARNING, "certificate has to be imported", extra=extra)

    def _adopt_values(self, present: frozenset[str]) -> None:
        if not present:
            return
        specs = {spec.valkey_key: spec for spec in self.store.unrecorded() if spec.valkey_key in present}
        if specs:
            used = {terms.name: terms for spec in specs.values() for terms in self.rules.terms_of(spec)[:1]}
            for terms in used.values():
                self.memory.remember(terms)
            self.values.adopt(specs)


def _tell_due(cert_id: CertId, names_key: str, reason: Reason, *, asked: bool) -> None:
    level = logging.DEBUG if asked else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "certificate due", extra={"cert": cert_id, "names": names_key, "reason": reason})


def _tell_over_budget(over: Mapping[CertId, Wait]) -> None:
    if over:
        first = min(over.values(), key=lambda wait: wait.until)
        last = max(wait.until for wait in over.values())
        extra = {"certificates": len(over), "reason": first.reason, "next_try": first.until, "last": last}
        log.info("certificates wait for room in the CA's limits", extra=extra)


def _next_pass(census: Census) -> str:
    """`, next pass …` for the end of the line: without the day where that is the day of the line itself."""
    if census.next_pass is None:
        return ""
    at, now = census.next_pass.astimezone(UTC), census.at.astimezone(UTC)
    return f"; next pass {at:{'%H:%M' if at.date() == now.date() else '%Y-%m-%d %H:%M UTC'}}"
