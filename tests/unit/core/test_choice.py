"""Which issuer is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from knit.core.choice import FORGIVEN, Standing, another, choose
from knit.core.model.issuer import Terms

NOW = datetime(2026, 11, 26, tzinfo=UTC)
A, B, C = (Terms(name=name, directory=f"https://{name}.example/dir") for name in "abc")


def down(minutes: float) -> Standing:
    return Standing(down_at=NOW - timedelta(minutes=minutes))


def waits(minutes: float) -> Standing:
    return Standing(waits_until=NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("standings", "chosen"),
    [
        ({}, A),
        ({A: Standing()}, A),
        ({B: down(1)}, A),
        ({A: down(1)}, B),
        ({A: waits(1)}, B),
        ({A: down(1), B: waits(1)}, C),
        ({A: down(1), B: down(2), C: down(3)}, C),
        ({A: down(3), B: down(2), C: down(1)}, A),
        ({A: down(1), B: down(2), C: waits(1)}, B),
        ({A: waits(3), B: waits(1), C: waits(2)}, B),
        ({A: waits(0), B: waits(1)}, A),
        ({A: down(FORGIVEN.total_seconds() / 60)}, A),
        ({A: Standing(down_at=NOW, waits_until=NOW - timedelta(seconds=1)), B: waits(1)}, C),
    ],
)
def test_the_first_is_asked_unless_it_is_down_or_left_alone(standings: dict[Terms, Standing], chosen: Terms) -> None:
    by_directory = {terms.directory: standing for terms, standing in standings.items()}
    assert choose((A, B, C), by_directory, NOW) == chosen


@pytest.mark.parametrize(
    ("standings", "there_is"),
    [({}, True), ({B: down(1)}, True), ({B: down(1), C: waits(1)}, False), ({A: down(1)}, True)],
)
def test_a_try_can_be_made_elsewhere_where_another_neither_waits_nor_was_down(
    standings: dict[Terms, Standing], there_is: bool
) -> None:
    by_directory = {terms.directory: standing for terms, standing in standings.items()}
    assert another((A, B, C), by_directory, A.directory, NOW) is there_is
    assert not another((A,), by_directory, A.directory, NOW)
