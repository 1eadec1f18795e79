"""What `knit plan --at` takes for an instant."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from knit.cli.plan import Instant, plan_command


@pytest.mark.parametrize("at", ["9999-12-31", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "1999-12-31"])
def test_an_instant_that_no_calendar_of_ours_reaches_is_wrong_use(at: str) -> None:
    with pytest.raises(click.BadParameter, match="years 2000 to 2999"):
        Instant().convert(at, None, None)


def test_an_instant_that_is_past_is_wrong_use() -> None:
    asked = CliRunner().invoke(plan_command, ["--at", "2020-02-10"], standalone_mode=False)
    assert isinstance(asked.exception, click.UsageError)
    assert "2020-02-10T00:00:00+0000 is in the past" in str(asked.exception)


def test_a_day_begins_in_utc() -> None:
    assert Instant().convert("2027-02-10", None, None).isoformat() == "2027-02-10T00:00:00+00:00"
