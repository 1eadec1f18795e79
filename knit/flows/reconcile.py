"""One pass: find out which certificates need a worker, and why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from knit.core import issuers, lost, renewal
from knit.core.lost import Lost
from knit.core.model.certificate import CertId
from knit.core.model.decision import Candidate, Census, CertState, Due, Newcomer, Reason, Rules
from knit.core.model.issuer import Terms
from knit.core.model.results import PassPlan
from knit.errors import Refused
from knit.flows.belonging import Belonging
from knit.flows.values import Values
from knit.ports.issuing import IssuerMemory
from knit.ports.passes import Passes
from knit.ports.process import Clock
from knit.ports.publication import Publication

log = logging.getLogger(__name__)

HELD_BACK = timedelta(hours=1)
"""When to look again at lost values that were too many at once."""

NAMED = 10
"""Certificates that one line of the log names."""

LOST = Due(reason=Reason.NOT_PUBLISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is kept of a due candidate: a list may be long, and most of it due after an import."""

    cert_id: CertId
    rank: tuple[bool, bool, datetime]
    due: bool
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """The flow with its ports."""

    store: Passes
    memory: IssuerMemory
    publication: Publication
    belonging: Belonging
    values: Values
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
        candidates = self._of_others(refused, self.store.candidates(self.rules, unpublished))
        due = self._decide(candidates, published=len(published))
        plan = (*(one.cert_id for one in due), *self.store.orphaned_leftovers())
        asked = frozenset(one.cert_id for one in due if one.asked)
        first = next(iter(refused.values()), None)
        count = sum(one.due for one in due)
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

    def _of_others(
        self, refused: Mapping[str, str], candidates: Iterable[Candidate | Newcomer]
    ) -> Iterable[Candidate | Newcomer]:
        """Without certificates of issuers that are refused: those are for other processes to issue."""
        if not refused:
            return candidates
        return (
            one
            for one in candidates
            if isinstance(one, Newcomer)
            or not (wanted := self.rules.terms_of(one.spec))
            or wanted[0].name not in refused
        )

    def _refusal(self, terms: Terms) -> str | None:
        why = issuers.refusal(terms, self.memory.recall(terms.name))
        return None if why is None or self.memory.correct(terms) else why

    def _decide(self, candidates: Iterable[Candidate | Newcomer], *, published: int) -> Sequence[Chosen]:
        now = self.clock()
        chosen: list[Chosen] = []
        missing: list[Lost] = []
        waiting: dict[CertId, datetime] = {}
        lost_again: dict[CertId, str] = {}
        first = renewal.rank(CertState(), now)
        for candidate in candidates:
            if isinstance(candidate, Newcomer):
                _tell_due(candidate.cert_id, candidate.names_key, Reason.NEVER_ISSUED, asked=candidate.asked)
                chosen.append(Chosen(cert_id=candidate.cert_id, rank=first, due=True, asked=candidate.asked))
                continue
            spec = candidate.spec
            verdict = renewal.decide(spec, candidate.state, self.rules, now)
            if verdict == LOST:
                missing.append(Lost.of(candidate))
            elif isinstance(verdict, Due):
                _tell_due(spec.id, spec.names_key, verdict.reason, asked=candidate.asked)
            else:
                waiting[spec.id] = verdict.until
                if renewal.held_back(candidate.state, now):
                    lost_again[spec.id] = spec.names_key
            if isinstance(verdict, Due) or candidate.leftovers:
                rank = renewal.rank(candidate.state, now)
                chosen.append(Chosen(cert_id=spec.id, rank=rank, due=isinstance(verdict, Due), asked=candidate.asked))
        held_back = self._held_back(missing, published)
        again = now + HELD_BACK
        self.store.plan_checks(waiting | dict.fromkeys(held_back, again), self.rules)
        if held_back:
            # After the plan, which takes away what was said before.
            self.store.complain(list(held_back), Refused(_held_back_until(again)))
        for cert_id, names in lost_again.items():
            self._complain(cert_id, names, waiting[cert_id])
        return sorted((one for one in chosen if one.cert_id not in held_back), key=lambda one: one.rank)

    def _complain(self, cert_id: CertId, names: str, until: datetime) -> None:
        self.store.complain([cert_id], Refused(renewal.LOST_AGAIN))
        extra = {"cert": cert_id, "names": names, "error": renewal.LOST_AGAIN, "next_try": until}
        log.error("lost value not issued anew", extra=extra)

    def _held_back(self, missing: Sequence[Lost], published: int) -> frozenset[CertId]:
        """Of certificates whose values are lost, those that must wait: a lost Valkey must not order everything."""
        if not missing:
            return frozenset()
        admitted = lost.admitted(missing, published=published, begun=self.store.reordered())
        for one in missing:
            if one.cert_id in admitted:
                _tell_due(one.cert_id, one.names_key, Reason.NOT_PUBLISHED, asked=False)
        held_back = frozenset(one.cert_id for one in missing) - admitted
        if held_back:
            extra = {"lost": len(missing), "held_back": len(held_back), "next_try": self.clock() + HELD_BACK}
            log.warning("mass renewal held back", extra=extra)
        return held_back

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


def _held_back_until(again: datetime) -> str:
    at = again.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"its published value is lost, as are many others: its renewal is held back until {at}"


def _next_pass(census: Census) -> str:
    """`, next pass …` for the end of the line: without the day where that is the day of the line itself."""
    if census.next_pass is None:
        return ""
    at, now = census.next_pass.astimezone(UTC), census.at.astimezone(UTC)
    return f"; next pass {at:{'%H:%M' if at.date() == now.date() else '%Y-%m-%d %H:%M UTC'}}"
