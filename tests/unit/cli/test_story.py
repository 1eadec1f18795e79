"""The story of one certificate: renewals with their steps and failures, who changed what, at most a screenful."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from knit.cli.story import LEAST, story
from knit.core.events import Event, Kind, Severity
from knit.core.model.attempt import AttemptId
from knit.core.model.certificate import CertId
from knit.core.model.listing import Try
from knit.core.records import of_event
from knit.flows.history import every
from tests.unit.cli.test_listed import NOW

WARNING = Severity.WARNING


def event(number: int, kind: Kind, *, attempt: int | None = None, **detail: object) -> Event:
    """One event a minute."""
    return Event(
        id=number,
        at=NOW + timedelta(minutes=number),
        kind=kind,
        severity=WARNING if kind is Kind.RENEWAL_POSTPONED else Severity.INFO,
        cert_id=CertId(7),
        attempt_id=None if attempt is None else AttemptId(attempt),
        actor="ada (knit ada@admin)",
        detail=detail,
    )


def attempt(number: int, *, step: str, ended: int | None, error: str | None = None) -> Try:
    return Try(
        id=number,
        started_at=NOW + timedelta(minutes=number),
        ended_at=None if ended is None else NOW + timedelta(minutes=ended),
        step=step,
        reason="never issued",
        directory="https://ca.example/dir",
        order_url=None,
        error=error,
        retry_at=None,
    )


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "40")


def test_renewals_and_edits_are_told_the_newest_first_with_steps_failures_and_who_changed_what() -> None:
    events = [
        event(1, Kind.CERTIFICATE_ADDED, provider="desec"),
        event(2, Kind.RENEWAL_STARTED, attempt=2),
        event(3, Kind.KEY_STAGED, attempt=2),
        event(4, Kind.RENEWAL_FAILED, attempt=2, error="the CA is away"),
        event(5, Kind.RENEWAL_RESUMED, attempt=2),
        event(6, Kind.RENEWAL_FAILED, attempt=2, error="the CA is away"),
        event(7, Kind.ORDER_PLACED, attempt=2),
        event(8, Kind.RENEWAL_FAILED, attempt=2, error="the CA said no"),
        event(9, Kind.CERTIFICATE_CHANGED, provider=["desec", "ovh"], enabled=[False, True], profile=[None, "short"]),
    ]
    tries = [attempt(2, step="failed", ended=8, error="the CA said no")]
    assert story(tries, events, used=10) == [
        "   2026-03-01T00:09:00Z  certificate changed by ada (knit ada@admin)",
        "      enabled: false -> true",
        "      profile: - -> short",
        "      provider: desec -> ovh",
        "   2026-03-01T00:02:00Z  never issued, from https://ca.example/dir, failed at 2026-03-01T00:08:00Z",
        "      key staged 00:03:00, ordered 00:07:00",
        "      the CA said no",
        "      2026-03-01T00:06:00Z  failed: the CA is away (2 times since 2026-03-01T00:04:00Z)",
        "   2026-03-01T00:01:00Z  certificate added by ada (knit ada@admin)",
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [("20 days", "20d"), ("1 day 12:00:00", "36h"), ("00:00:09", "9s"), ("1 mon", "1 mon"), ("1 day", "1d")],
)
def test_a_time_is_told_as_people_type_it(written: str, said: str) -> None:
    told = story([], [event(1, Kind.CERTIFICATE_CHANGED, renew_before=[None, written])], used=1)
    assert told[1:] == [f"      renew_before: - -> {said}"]


@pytest.mark.parametrize(("lines", "shown"), [("24", 13), ("40", 29), ("5", LEAST)])
def test_it_fills_at_most_the_screen_and_says_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch, lines: str, shown: int
) -> None:
    monkeypatch.setenv("LINES", lines)
    events = [event(number, Kind.RENEWAL_REQUESTED) for number in range(1, 101)]
    told = story([], events, used=10)
    assert len(told) == shown
    assert told[0].startswith("   2026-03-01T01:40:00Z  renewal requested")
    assert told[-1] == f"   … {101 - shown} more lines: `--json` tells all"


def test_nothing_that_was_written_by_others_reaches_the_terminal_as_it_is() -> None:
    hostile = "\x1b[2Jx\ny"
    changed: dict[str, Any] = {hostile: [hostile, None]}
    events = [event(1, Kind.CERTIFICATE_CHANGED, **changed)]
    tries = [attempt(2, step="failed", ended=3, error=hostile)]
    assert not any("\x1b" in line or "\n" in line for line in story(tries, events, used=10))


class Pages:
    """Events, as the store gives them: so many at a time."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events

    def since(self, after: int, *, cert_id: CertId | None = None, most: int = 1000) -> Sequence[Event]:
        return [one for one in self._events if one.id > after and one.cert_id == cert_id][:most]

    def newest(self) -> int:
        return max((one.id for one in self._events), default=0)


def test_a_program_gets_all_however_much_there_is() -> None:
    events = [event(number, Kind.RENEWAL_REQUESTED) for number in range(1, 2501)]
    assert every(Pages(events), CertId(7)) == events
    assert of_event(events[0]) == {
        "id": 1,
        "at": NOW + timedelta(minutes=1),
        "kind": "renewal requested",
        "severity": "info",
        "attempt_id": None,
        "actor": "ada (knit ada@admin)",
        "detail": {},
    }
