"""How many certificates may be ordered anew at once for another reason than time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.brake import MASSED, Massed, Pace, released
from knit.core.model.certificate import CertId
from knit.core.model.decision import Reason

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def massed(count: int) -> list[Massed]:
    return [
        Massed(cert_id=CertId(number), not_after=NOW + timedelta(days=number), turn_at=LATER)
        for number in range(count, 0, -1)
    ]


@pytest.mark.parametrize(
    ("count", "enabled", "begun", "most"),
    [(5, 5, 0, 5), (20, 20, 0, 20), (21, 21, 0, 20), (300, 300, 0, 30), (300, 300, 25, 5), (300, 300, 40, 0)],
)
def test_many_are_ordered_anew_a_few_at_a_time_the_soonest_to_expire_first(
    count: int, enabled: int, begun: int, most: int
) -> None:
    found = released(massed(count), Pace(enabled=enabled, begun=begun))
    assert found == {CertId(number) for number in range(1, most + 1)}


def test_what_expires_sooner_comes_first_whatever_its_id() -> None:
    some = [Massed(cert_id=CertId(n), not_after=NOW + timedelta(days=90 - n), turn_at=LATER) for n in range(1, 31)]
    assert released(some, Pace(enabled=30, begun=0)) == {CertId(number) for number in range(11, 31)}


def test_a_persons_word_lets_all_go() -> None:
    assert len(released(massed(300), Pace(enabled=300, begun=99, confirmed=True))) == 300


@pytest.mark.parametrize("reason", [Reason.WINDOW, Reason.ARI, Reason.REQUESTED, Reason.NEVER_ISSUED])
def test_what_its_time_or_a_person_makes_due_is_no_mass(reason: Reason) -> None:
    assert reason not in MASSED


def test_what_is_held_back_waits_an_hour_and_never_past_its_own_time() -> None:
    held = Massed(cert_id=CertId(1), not_after=NOW + timedelta(hours=1), turn_at=NOW + timedelta(minutes=30))
    assert held.again(NOW) == NOW + timedelta(minutes=30)
    assert replace(held, turn_at=NOW + timedelta(days=30)).again(NOW) == NOW + timedelta(hours=1)
