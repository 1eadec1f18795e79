"""Months in which a CA says when it would have its certificates renewed, and is asked about it (RFC 9773)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from knit.core.ari import Answer, Outcome, Question, Window
from knit.core.model.certificate import CertId, Issued
from knit.core.model.decision import Rules
from knit.errors import Unreachable
from knit.flows.poll import Poll
from tests.simulation.year import HOUR, MINUTE, Row, TheCA, Year


@dataclass(slots=True)
class Advice:
    """A CA's renewal information: the sixth part of life before the last quarter, or at once for what it revokes."""

    silent: tuple[datetime, datetime]
    lives: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    questions: int = 0

    def window(self, ari_id: str) -> Window:
        born, ends = self.lives[ari_id]
        if ari_id in self.revoked:
            return Window(start=born, end=born + HOUR, explanation="https://le.example/incident")
        return Window(start=ends - (ends - born) * 5 / 12, end=ends - (ends - born) / 4)


class AdvisedYear(Year):
    """A year with the flow that polls; this is its store and its adviser."""

    def __init__(self, rows: Sequence[Row], rules: Rules, cas: Mapping[str, TheCA], advice: Advice) -> None:
        super().__init__(rows, rules, cas)
        self.advice = advice
        self.questions: dict[CertId, Question] = {}
        self.next_poll: dict[CertId, datetime] = {}
        self.flow = Poll(store=self, advisers=self, rules=rules, clock=self.clock)

    def run(self, until: datetime) -> None:
        """As before, and every ten minutes the questions whose turn it is."""
        while self.clock.now < until:
            super().run(min(self.clock.now + 10 * MINUTE, until))
            self.flow.run()

    def due(self) -> bool:
        return any(at <= self.clock.now for at in self.next_poll.values())

    def take(self, most: int) -> Sequence[Question]:
        found = [cert_id for cert_id, at in self.next_poll.items() if at <= self.clock.now][:most]
        return [self.questions[cert_id] for cert_id in found]

    def give_back(self, questions: Sequence[Question]) -> None:
        assert not questions

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        for one in outcomes:
            cert_id = one.question.cert_id
            row, failures = self.rows[cert_id], one.question.failures + 1
            self.next_poll[cert_id] = one.next_poll_at
            if one.chosen_at is not None:
                row.state = replace(row.state, ari_at=one.chosen_at, ari_checked_at=self.clock.now)
                failures = 0
                if one.chosen_at < row.look_at:
                    self._look(row, max(one.chosen_at, self.clock.now))
            self.questions[cert_id] = replace(one.question, failures=failures, first=False)

    def adviser(self, issuer: str) -> AdvisedYear:
        assert issuer == "le"
        return self

    def renewal_info(self, ari_id: str) -> Answer | None:
        self.advice.questions += 1
        since, until = self.advice.silent
        if since <= self.clock.now < until:
            message = "no answer"
            raise Unreachable(message)
        return Answer(window=self.advice.window(ari_id), ask_again=self.clock.now + 6 * HOUR)

    def revoke(self, ids: Sequence[CertId]) -> None:
        """The CA will revoke what it has issued to these, and says so to whoever asks."""
        for cert_id in ids:
            issued = self.rows[cert_id].state.issued
            assert issued is not None
            assert issued.ari_id is not None
            self.advice.revoked.add(issued.ari_id)

    def _issued(self, row: Row, ca: TheCA, born: datetime, ends: datetime) -> Issued:
        ari_id, cert_id = f"{row.spec.id}.{len(row.issued)}", row.spec.id
        self.advice.lives[ari_id] = born, ends
        self.questions[cert_id] = Question(
            cert_id=cert_id,
            ari_id=ari_id,
            issuer="le",
            directory=ca.directory,
            not_before=born,
            not_after=ends,
            wanted=True,
            failures=0,
            first=True,
        )
        self.next_poll[cert_id] = self.clock.now
        return replace(super()._issued(row, ca, born, ends), ari_id=ari_id)
