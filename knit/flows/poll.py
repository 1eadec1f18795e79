"""Ask CAs when they would have certificates renewed (RFC 9773): those whose turn it is, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from knit.core import ari
from knit.core.ari import Outcome, Question
from knit.core.model.decision import Rules
from knit.core.model.results import Polled
from knit.errors import Interrupted, KnitError, Misconfigured, Transient
from knit.ports.process import Clock
from knit.ports.renewal_info import Adviser, Advisers, RenewalInfos

PORTION: Final = 50
"""Certificates that are taken, and whose answers are kept, at a time."""

LONGEST: Final = timedelta(seconds=45)
"""A run ends after this, so that a worker can be told to stop; what is left is the next one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """The flow with its ports."""

    store: RenewalInfos
    advisers: Advisers
    rules: Rules
    clock: Clock

    def run(self) -> Polled:
        """Ask what is due, for at most `LONGEST`. Raises Interrupted, and Outage when PostgreSQL is away."""
        return _Run(flow=self, ends=self.clock() + LONGEST).polled()


@dataclass(slots=True, kw_only=True)
class _Run:
    """`down` are issuers that could not be asked, each with its error: nobody is asked twice in vain in one run."""

    flow: Poll
    ends: datetime
    asked: int = 0
    down: dict[str, KnitError] = field(default_factory=dict)
    up: set[str] = field(default_factory=set)

    def polled(self) -> Polled:
        while (now := self.flow.clock()) < self.ends and (questions := self.flow.store.take(PORTION)):
            self._ask_all(questions)
        self.up -= self.down.keys()
        return Polled(asked=self.asked, more=now >= self.ends, down=self.down, up=frozenset(self.up))

    def _ask_all(self, questions: Sequence[Question]) -> None:
        """Whatever ends this, what was answered is kept."""
        outcomes: list[Outcome] = []
        try:
            for question in questions:
                if self.flow.clock() >= self.ends:
                    break
                outcomes.append(self._ask(question))
        finally:
            self.flow.store.keep(outcomes)
            self.flow.store.give_back(questions[len(outcomes) :])

    def _ask(self, question: Question) -> Outcome:
        terms = self.flow.rules.at(question.directory, question.issuer)
        if not question.wanted:
            return ari.not_offered(question, self.flow.clock())
        if terms is None:
            # Another process may know it, and what its CA has said stays.
            return self._unanswered(question, Misconfigured(f"no issuer here has the directory {question.directory}"))
        error = self.down.get(terms.name)
        return self._unanswered(question, error) if error is not None else self._ask_of(terms.name, question)

    def _ask_of(self, issuer: str, question: Question) -> Outcome:
        self.asked += 1
        try:
            adviser = self.flow.advisers.adviser(issuer)
            return self._answered(adviser, issuer, question)
        except Interrupted:
            raise
        except (Transient, Misconfigured) as error:
            self.down[issuer] = error
            return self._unanswered(question, error)
        except KnitError as error:
            return self._unanswered(question, error)

    def _answered(self, adviser: Adviser | None, issuer: str, question: Question) -> Outcome:
        answer = None if adviser is None else adviser.renewal_info(question.ari_id)
        self.up.add(issuer)
        now = self.flow.clock()
        return ari.not_offered(question, now) if answer is None else ari.answered(question, answer, now)

    def _unanswered(self, question: Question, error: KnitError) -> Outcome:
        return ari.unanswered(question, str(error), self.flow.clock())
