"""Renewal over years of simulated time: whatever a CA suggests, nothing expires, nothing loops, nothing comes twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from knit.core import ari, renewal
from knit.core.ari import Window
from knit.core.model.certificate import Issued
from knit.core.model.decision import CertState, Due, Policy, Reason, Rules
from tests.unit.core.test_renewal import RULES, SPEC, issued

START = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)

ENDS = st.floats(-2, 3, allow_nan=False)
"""Of a window, in lives of the certificate from its beginning."""


@dataclass(frozen=True)
class Behaviour:
    """What a CA does with certificates that live so long: when it answers, and what it suggests."""

    life: timedelta
    windows: tuple[tuple[float, float], ...]
    every: timedelta
    """Its ARI server and its orders are to be had for a moment, once in so long."""
    silent_after: int | None = None
    """Its ARI server is away for good after so many answers."""
    rules: Rules = RULES


@dataclass
class Life:
    """One certificate with all its renewals."""

    ca: Behaviour
    now: datetime = START
    number: int = 0
    answers: int = 0
    facts: Issued = field(init=False)
    state: CertState = field(init=False)
    renewals: list[tuple[Reason, datetime, Issued]] = field(default_factory=list)
    early: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._issue()

    def run(self, until: datetime) -> None:
        while self.now < until:
            self._poll()
            verdict = renewal.decide(SPEC, self.state, self.ca.rules, self.now)
            if isinstance(verdict, Due):
                assert self.now < self.facts.not_after, "expired"
                self.renewals.append((verdict.reason, self.now, self.facts))
                if verdict.reason is Reason.ARI:
                    self.early.append(self.now)
                self._issue()
            else:
                assert verdict.until > self.now, "would be looked at again and again"
            self.now += self.ca.every
            self._remember()

    def _issue(self) -> None:
        self.number += 1
        at = self.now
        self.facts = replace(
            issued(self.ca.life, timedelta(0), ari_id=f"a.{self.number}"),
            not_before=at, not_after=at + self.ca.life, issued_at=at,
        )  # fmt: skip
        self.state = CertState(issued=self.facts)
        self._remember()

    def _remember(self) -> None:
        """As the statements that read a certificate do: the second to last of those of the last week, and a week."""
        lately = [at for at in self.early if at > self.now - WEEK]
        self.state = replace(self.state, ari_again_at=lately[-2] + WEEK if len(lately) > 1 else None)

    def _poll(self) -> None:
        if not self.ca.windows or (self.ca.silent_after is not None and self.answers >= self.ca.silent_after):
            return
        start, end = self.ca.windows[self.answers % len(self.ca.windows)]
        self.answers += 1
        window = Window(
            start=self.facts.not_before + self.ca.life * start, end=self.facts.not_before + self.ca.life * end
        )
        at = ari.chosen(self.facts.ari_id or "", window, self.facts.not_before, self.facts.not_after)
        self.state = replace(self.state, ari_at=at, ari_checked_at=self.now)


@st.composite
def behaviours(draw: st.DrawFn) -> Behaviour:
    life = timedelta(hours=draw(st.integers(1, 398 * 24)))
    pairs = st.tuples(ENDS, ENDS).filter(lambda pair: pair[0] < pair[1] - 1e-6)
    threshold = draw(st.none() | st.integers(2, 400).map(lambda days: timedelta(days=days)))
    return Behaviour(
        life=life,
        windows=tuple(draw(st.lists(pairs, max_size=4))),
        every=min(timedelta(days=1), life / 8) * draw(st.floats(0.4, 1)),
        silent_after=draw(st.none() | st.integers(0, 40)),
        rules=replace(RULES, policy=Policy(threshold=threshold)),
    )


@given(behaviours())
@settings(deadline=None, max_examples=150)
def test_nothing_expires_or_loops_and_no_certificate_is_renewed_twice(ca: Behaviour) -> None:
    certificate = Life(ca)
    certificate.run(START + ca.life * 4)
    replaced = [facts.ari_id for _, _, facts in certificate.renewals]
    assert len(replaced) == len(set(replaced))
    ages = [at - facts.not_before for _, at, facts in certificate.renewals]
    by_rule = [age for age, (reason, _, _) in zip(ages, certificate.renewals, strict=True) if reason is Reason.WINDOW]
    assert all(age >= ca.life / 3 for age in by_rule)
    for at in certificate.early:
        lately = [
            renewed for reason, renewed, facts in certificate.renewals
            if reason is Reason.ARI and at - WEEK < renewed <= at and renewed - facts.not_before < ca.life / 3
        ]  # fmt: skip
        assert len(lately) <= 2, "a CA that would have all renewed at once is followed without end"


@given(st.integers(1, 398 * 24), st.floats(0.4, 0.9), st.floats(0.001, 0.05))
@settings(deadline=None)
def test_where_the_ca_answers_its_window_is_kept(life_hours: int, start: float, width: float) -> None:
    life = timedelta(hours=life_hours)
    certificate = Life(Behaviour(life=life, windows=((start, start + width),), every=life / 400))
    certificate.run(START + life * 1.2)
    (reason, at, facts), *_ = certificate.renewals
    last = ari.last_call(facts)
    late = facts.not_before + life * (start + width)
    assert facts.not_before + life * start <= at or at >= last
    assert at <= min(late, last) + life / 400
    assert reason is Reason.ARI or at >= last


def test_an_ari_server_that_stays_away_leaves_the_rule_of_the_lifetime() -> None:
    life = timedelta(days=90)
    late = Behaviour(life=life, windows=((0.9, 0.94),), every=timedelta(hours=6), silent_after=1)
    certificate = Life(late)
    certificate.run(START + timedelta(days=70))
    (reason, at, _), *_ = certificate.renewals
    assert reason is Reason.WINDOW
    assert timedelta(days=60) <= at - START < timedelta(days=61.5)
