"""When a failed certificate is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.model.certificate import CertId
from knit.core.retry import LONGEST_ASKED, fraction, limited, next_try, retry_after

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(("failures", "minutes"), [(1, 1), (2, 10), (3, 100), (4, 1440), (5, 1440), (50, 1440)])
def test_tries_follow_the_ladder_within_a_fifth(failures: int, minutes: int) -> None:
    waits = {next_try(CertId(n), failures, NOW) - NOW for n in range(200)}
    step = timedelta(minutes=minutes)
    assert all(step * 0.8 <= wait <= step * 1.2 for wait in waits)
    assert len(waits) == 200


def test_what_the_other_side_asked_for_wins() -> None:
    assert next_try(CertId(1), 4, NOW, NOW + timedelta(seconds=90)) == NOW + timedelta(seconds=90)


@given(st.integers(min_value=-(10**9), max_value=10**9))
def test_what_was_asked_for_is_kept_between_a_second_and_two_days(seconds: int) -> None:
    at = next_try(CertId(1), 1, NOW, NOW + timedelta(seconds=seconds))
    assert timedelta(seconds=1) <= at - NOW <= timedelta(hours=48)


def test_a_hundred_failing_certificates_stay_under_five_failures_an_hour() -> None:
    for number in range(100):
        at, within = NOW, 0
        for failures in range(1, 6):
            at = next_try(CertId(number), failures, at)
            within += at - NOW < timedelta(hours=1)
        assert within + 1 < 5


def test_the_spread_is_even_and_always_the_same() -> None:
    values = [fraction(CertId(n), "x") for n in range(10_000)]
    assert values == [fraction(CertId(n), "x") for n in range(10_000)]
    tenths = [sum(low / 10 <= v < (low + 1) / 10 for v in values) for low in range(10)]
    assert all(900 < count < 1100 for count in tenths)


@pytest.mark.parametrize(("refusals", "minutes"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (50, 60), (10**9, 60)])
def test_a_limit_is_waited_for_a_minute_and_twice_as_long_each_time_up_to_an_hour(refusals: int, minutes: int) -> None:
    for asked in (None, NOW, NOW - timedelta(days=400), NOW + timedelta(seconds=5)):
        assert limited(refusals, NOW, asked) - NOW == timedelta(minutes=minutes)


def test_what_a_limit_asks_for_makes_the_wait_longer_up_to_two_days() -> None:
    assert limited(1, NOW, NOW + timedelta(hours=3)) - NOW == timedelta(hours=3)
    assert limited(1, NOW, NOW + timedelta(days=400)) - NOW == timedelta(hours=48)


@pytest.mark.parametrize(
    "value",
    [
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 31 Dec 9999 12:00:00 GMT",
        "Mon, 23 Nov 2026 00:00:00 -1200",
        "Tue, 01 Dec 2026 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
        "+999999999999",
        "-1",
        "1e9",
        "9" * 5000,
        "١٢",
        "\x1b[31m",
        "",
    ],
)
def test_no_absurd_retry_after_raises_or_leads_out_of_the_week(value: str) -> None:
    found = retry_after(value, NOW)
    assert found is None or NOW <= found <= NOW + LONGEST_ASKED


@given(
    st.sampled_from(["Mon, ", ""]),
    st.integers(1, 28) | st.integers(),
    st.sampled_from(["Jan", "Feb", "xyz"]),
    st.integers(1, 9999) | st.integers(),
    st.sampled_from(["GMT", "+2359", "-9999", "+999999999999999999999"]),
)
def test_any_date_is_an_instant_within_the_week_or_none(
    day: str, number: int, month: str, year: int, zone: str
) -> None:
    found = retry_after(f"{day}{number} {month} {year} 00:00:00 {zone}", NOW)
    assert found is None or NOW <= found <= NOW + LONGEST_ASKED
