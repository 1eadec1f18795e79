"""The one line of a pass: figures in plain English, and when the next pass comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from knit.core.model.decision import Census
from knit.flows.reconcile import _next_pass

AT = datetime(2026, 3, 1, 13, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (timedelta(hours=2), "; next pass 15:40"),
        (timedelta(hours=10, minutes=19), "; next pass 23:59"),
        (timedelta(hours=12), "; next pass 2026-03-02 01:40 UTC"),
        (timedelta(days=30), "; next pass 2026-03-31 13:40 UTC"),
    ],
)
def test_a_pass_that_comes_on_another_day_says_which(after: timedelta, said: str) -> None:
    for zone in (UTC, timezone(timedelta(hours=9))):
        census = Census(at=AT.astimezone(zone), certificates=1, failing=0, next_pass=(AT + after).astimezone(zone))
        assert _next_pass(census) == said


def test_without_a_scheduler_nothing_is_said_of_the_next() -> None:
    assert _next_pass(Census(at=AT, certificates=1, failing=0, next_pass=None)) == ""
