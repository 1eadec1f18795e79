"""When a pass is due; and that with it no certificate of an hour or more is ever served expired, simulated."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from knit.core import agenda
from knit.core.agenda import Agenda, Errand, PassReason, errands, why
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.model.decision import CertState, Due, Rules
from knit.core.model.issuer import Terms
from knit.core.renewal import decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = timedelta(hours=12)
SECOND = timedelta(seconds=1)
QUIET = Agenda(at=NOW, changed_at=None, passed_at=NOW - HOURS, planned_at=None)


def seen(after: timedelta, **more: datetime | None) -> Agenda:
    """What is known so long after a pass that was asked for at NOW, and done a second later."""
    known: dict[str, datetime | None] = {"changed_at": None, "passed_at": NOW + SECOND, "planned_at": None, **more}
    return Agenda(at=NOW + after, **known, errands=())


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (seen(HOURS - SECOND), None),
        (seen(HOURS), PassReason.INTERVAL),
        (seen(SECOND, changed_at=NOW), None),
        (seen(2 * SECOND, changed_at=NOW + SECOND), PassReason.CHANGED),
        (seen(timedelta(minutes=5), planned_at=NOW + timedelta(minutes=6)), None),
        (seen(timedelta(minutes=5), planned_at=NOW + timedelta(minutes=5)), PassReason.PLANNED),
        (seen(timedelta(seconds=10), planned_at=NOW + SECOND), None),
        (seen(timedelta(minutes=1), passed_at=None), None),
        (seen(timedelta(minutes=2), passed_at=None), PassReason.LOST),
        (seen(timedelta(minutes=2), passed_at=NOW - HOURS), PassReason.LOST),
    ],
)
def test_a_pass_is_due(found: Agenda, reason: PassReason | None) -> None:
    assert why(found, NOW, HOURS, 0) == reason


def test_a_scheduler_that_starts_asks_for_one() -> None:
    assert why(QUIET, None, HOURS, 0) == PassReason.START


@dataclass
class World:
    """One certificate, a scheduler that looks every two seconds, a CA that takes a minute."""

    life: timedelta
    interval: timedelta
    now: datetime = NOW
    asked_at: datetime | None = None
    passed_at: datetime | None = None
    check_at: datetime | None = None
    issued: Issued | None = None
    least_left: timedelta = field(default=timedelta.max)

    def run(self, lives: int) -> None:
        rules = Rules(issuers=(Terms(name="acme", directory="https://ca"),))
        spec = CertSpec(id=CertId(7), names=("a",), provider="x", valkey_key="k", cert_path="/c", key_path="/k")
        end = self.now + lives * self.life
        while self.now < end:
            self._look(spec, rules)

    def _look(self, spec: CertSpec, rules: Rules) -> None:
        planned = (
            self.check_at if self.check_at is not None and self.asked_at and self.check_at > self.asked_at else None
        )
        known = Agenda(at=self.now, changed_at=None, passed_at=self.passed_at, planned_at=planned)
        if why(known, self.asked_at, self.interval, 0) is None:
            # Nothing happens before the next of these instants, and what is due then is found by a look after it.
            assert self.asked_at is not None
            ahead = [self.asked_at + self.interval, *([planned] if planned else [])]
            soonest = max(min(ahead), self.asked_at + agenda.CLOSEST)
            self.now = max(self.now + 2 * SECOND, soonest + 2 * SECOND)
            return
        self.asked_at = self.passed_at = self.now
        verdict = decide(spec, CertState(issued=self.issued), rules, self.now)
        if isinstance(verdict, Due):
            if self.issued is not None:
                self.least_left = min(self.least_left, self.issued.not_after - self.now)
            self.now += timedelta(minutes=1)
            self.issued = self._new()
            self.check_at = self.now
        else:
            self.check_at = verdict.until

    def _new(self) -> Issued:
        return Issued(
            cert_id=CertId(7),
            names_key="a",
            issuer="acme",
            directory="https://ca",
            key_type="ec256",
            profile=None,
            serial="1",
            ari_id=None,
            not_before=self.now,
            not_after=self.now + self.life,
            issued_at=self.now,
            sha256="",
            generation=1,
            valkey_key="k",
            cert_path="/c",
            key_path="/k",
        )


@pytest.mark.parametrize("interval", [timedelta(minutes=1), timedelta(hours=1), HOURS, timedelta(days=7)], ids=str)
@pytest.mark.parametrize("hours", [1, 2, 24, 6 * 24, 90 * 24])
def test_no_lifetime_from_an_hour_up_is_renewed_late_at_any_interval(hours: int, interval: timedelta) -> None:
    world = World(life=timedelta(hours=hours), interval=interval)
    world.run(2 if hours > 1000 else 20)
    share = world.least_left / world.life
    assert share > 0.3, f"renewed with {world.least_left} left"


@pytest.mark.parametrize(
    ("quiet", "waited", "ready"), [(0, 0, False), (2, 2, False), (3, 3, True), (0, 14, False), (0, 15, True)]
)
def test_changes_that_go_on_are_waited_for_for_a_while(quiet: int, waited: int, ready: bool) -> None:
    found = seen(timedelta(minutes=1), changed_at=NOW + timedelta(minutes=1, seconds=-quiet))
    assert agenda.settled(found, found.at - waited * SECOND) is ready


def test_cas_are_asked_when_something_is_to_be_asked_and_once_a_minute_at_most() -> None:
    waiting = replace(QUIET, errands=(Errand.POLL, Errand.REVOKE))
    assert errands(QUIET, {}) == []
    assert errands(waiting, {}) == [Errand.POLL, Errand.REVOKE]
    sent = {Errand.POLL: NOW - timedelta(seconds=59), Errand.REVOKE: NOW - timedelta(minutes=1)}
    assert errands(waiting, sent) == [Errand.REVOKE]
