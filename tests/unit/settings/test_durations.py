"""Durations as Go writes them."""

from __future__ import annotations

import string
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.words import duration, duration_or_zero

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "d": 86400.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
TERMS = st.lists(st.tuples(st.integers(1, 99), st.sampled_from(sorted(UNITS))), min_size=1, max_size=5)
GO = st.integers(1, 10 * 366 * 86400 * 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("60", 60),
        ("30d", 2_592_000),
        ("1d12h", 129_600),
        ("0.5", 0.5),
        (".5s", 0.5),
        ("1.s", 1),
    ],
)
def test_go_durations_and_bare_seconds_are_read(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


def test_a_duration_may_be_as_long_as_is_said() -> None:
    with pytest.raises(ValueError, match="up to 3660d"):
        duration("7300d")
    assert duration("7300d", timedelta(days=36_500)) == timedelta(days=7300)
    with pytest.raises(ValueError, match="up to 36500d"):
        duration("36501d", timedelta(days=36_500))


@given(TERMS)
def test_any_row_of_numbers_with_units_is_their_sum(terms: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in terms)
    total = sum(number * UNITS[unit] for number, unit in terms)
    assert duration(text).total_seconds() == pytest.approx(total, abs=1e-6)


@given(GO)
def test_what_go_prints_is_read_back(milliseconds: int) -> None:
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    assert duration(f"{hours}h{minutes}m{rest / 1000}s") == timedelta(milliseconds=milliseconds)


@given(st.text(alphabet=string.printable, max_size=12))
def test_any_text_is_a_positive_duration_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert duration(text) > timedelta(0)


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-1s", "+1s", "1w", "1 h", "h", "1h-5m", "1e3", "nan", "inf", "99999999h", "1H", "٣s"]
)
def test_what_is_no_positive_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="positive duration"):
        duration(text)


def test_zero_is_allowed_where_it_means_not_to_wait() -> None:
    assert duration_or_zero("0") == duration_or_zero("0s") == timedelta(0)
    assert duration_or_zero("5s") == timedelta(seconds=5)
