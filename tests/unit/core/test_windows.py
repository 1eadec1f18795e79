"""When a place may be reloaded: windows, clocks that are put on and back, and lives that are too short to wait."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.model.places import Window
from knit.core.windows import may_reload, opening, parsed, written

ZURICH = ZoneInfo("Europe/Zurich")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def at(text: str, zone: tzinfo = UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def zone_called(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def window(text: str) -> Window:
    return parsed(text, zone_called)


def span(text: str, now: str) -> tuple[str, str]:
    begin, end = opening(window(text), at(now))
    return f"{begin:%F %H:%M}", f"{end:%F %H:%M}"


@pytest.mark.parametrize(
    ("text", "days", "start", "end", "zone"),
    [
        ("Sun 02:00-05:00", {6}, time(2), time(5), UTC),
        ("mon-FRI 22:00-04:00", {0, 1, 2, 3, 4}, time(22), time(4), UTC),
        ("Sat-Mon 01:00-02:00", {5, 6, 0}, time(1), time(2), UTC),
        ("Mon,Wed 01:00-02:00 Europe/Zurich", {0, 2}, time(1), time(2), ZURICH),
        ("Mon,Thu-Fri 01:30-01:45", {0, 3, 4}, time(1, 30), time(1, 45), UTC),
        ("daily 02:00-24:00", set(range(7)), time(2), time(0), UTC),
    ],
)
def test_a_window_is_days_times_and_a_zone(text: str, days: set[int], start: time, end: time, zone: tzinfo) -> None:
    found = window(text)
    assert found == Window(days=frozenset(days), start=start, end=end, zone=zone)
    assert window(written(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "Sun", "02:00-05:00", "Sun 2:00-5:00", "Sun 02:00", "Sunday 02:00-05:00", "Sun 24:00-05:00"),
        *("Sun 02:00-25:00", "Sun 02:60-05:00", "Mon- 02:00-05:00", "-Mon 02:00-05:00", "Mon,, 02:00-05:00"),
        *("Sun 02:00-05:00 Europe/Zurich x", "Sun\n02:00-05:00", "Sun 02:00-05:00\n", "Sun ٠٢:00-05:00"),
    ],
)
def test_what_is_no_window_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="02:00-0"):
        window(text)


@pytest.mark.parametrize(
    ("text", "now", "begin", "end"),
    [
        # 2026-11-29 is a Sunday.
        ("Sun 02:00-05:00", "2026-11-27 10:00", "2026-11-29 02:00", "2026-11-29 05:00"),
        ("Sun 02:00-05:00", "2026-11-29 02:00", "2026-11-29 02:00", "2026-11-29 05:00"),
        ("Sun 02:00-05:00", "2026-11-29 05:00", "2026-12-06 02:00", "2026-12-06 05:00"),
        ("Mon-Fri 22:00-04:00", "2026-11-28 03:59", "2026-11-27 22:00", "2026-11-28 04:00"),
        ("Mon-Fri 22:00-04:00", "2026-11-28 04:00", "2026-11-30 22:00", "2026-12-01 04:00"),
        ("daily 00:00-24:00", "2026-11-28 04:00", "2026-11-28 00:00", "2026-11-29 00:00"),
        ("Sun 01:00-01:00", "2026-11-30 00:30", "2026-11-29 01:00", "2026-11-30 01:00"),
        ("Sun 02:00-05:00 Europe/Zurich", "2026-11-29 00:59", "2026-11-29 01:00", "2026-11-29 04:00"),
        ("Sun 02:00-05:00 America/New_York", "2026-11-29 00:59", "2026-11-29 07:00", "2026-11-29 10:00"),
        ("Mon 00:30-01:00 Asia/Tokyo", "2026-11-29 12:00", "2026-11-29 15:30", "2026-11-29 16:00"),
        # On 2026-03-29 Zurich has no 02:00 to 03:00: 01:59 is followed by 03:00, which is 01:00 UTC.
        ("Sun 02:00-05:00 Europe/Zurich", "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-29 03:00"),
        ("Sun 02:00-03:00 Europe/Zurich", "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-29 02:00"),
        ("Sun 02:15-02:45 Europe/Zurich", "2026-03-28 12:00", "2026-03-29 01:15", "2026-03-29 01:45"),
        ("Sun 02:30-03:00 Europe/Zurich", "2026-03-28 12:00", "2026-03-29 01:30", "2026-03-29 02:00"),
        ("Sun 01:00-02:30 Europe/Zurich", "2026-03-28 12:00", "2026-03-29 00:00", "2026-03-29 01:30"),
        # On 2026-10-25 it has it twice: from 00:00 and from 01:00 UTC.
        ("Sun 02:00-03:00 Europe/Zurich", "2026-10-24 12:00", "2026-10-25 00:00", "2026-10-25 02:00"),
        ("Sun 02:30-02:45 Europe/Zurich", "2026-10-24 12:00", "2026-10-25 00:30", "2026-10-25 01:45"),
        ("Sat 22:00-04:00 Europe/Zurich", "2026-10-24 12:00", "2026-10-24 20:00", "2026-10-25 03:00"),
        # Samoa had no 2011-12-30, a Friday.
        ("Fri 02:00-03:00 Pacific/Apia", "2011-12-29 13:00", "2011-12-30 12:00", "2011-12-30 13:00"),
    ],
)
def test_a_window_opens_by_the_clocks_of_its_zone(text: str, now: str, begin: str, end: str) -> None:
    assert span(text, now) == (begin, end)


WINDOWS = st.builds(
    Window,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    end=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    zone=st.sampled_from(
        [UTC, *map(ZoneInfo, ("Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"))]
    ),
)
MOMENTS = st.timedeltas(0 * DAY, 13000 * DAY).map(lambda since: at("2000-01-01") + since)
CHANGES = st.sampled_from(
    [at("2026-03-29 01:00"), at("2026-10-25 01:00"), at("2026-03-08 07:00"), at("2026-11-01 06:00")]
).flatmap(lambda change: st.integers(-3000, 3000).map(lambda minutes: change + minutes * MINUTE))


def wall(found: Window, now: datetime) -> bool:
    """Whether a person who looks at the clock in that zone would call it open."""
    local = now.astimezone(found.zone)
    today, clock = local.weekday(), local.time().replace(tzinfo=None, fold=0)
    if found.start < found.end:
        return today in found.days and found.start <= clock < found.end
    late = today in found.days and clock >= found.start
    return late or ((today - 1) % 7 in found.days and clock < found.end)


@given(WINDOWS, MOMENTS | CHANGES)
def test_it_opens_within_eight_days_and_is_what_the_clock_on_the_wall_says(found: Window, now: datetime) -> None:
    begin, end = opening(found, now)
    assert begin < end
    assert now < end
    assert begin - now < 8 * DAY
    offsets = {(now + hours * HOUR).astimezone(found.zone).utcoffset() for hours in range(-50, 51)}
    if len(offsets) == 1:
        assert (begin <= now) is wall(found, now)
    if begin > now:
        assert not wall(found, now), "where the clock changes it is rather open for longer"
        assert opening(found, begin) == (begin, end)


@given(WINDOWS, MOMENTS | CHANGES, st.timedeltas(-10 * DAY, 400 * DAY), st.floats(0, 1))
def test_what_may_wait_may_wait_until_the_window_opens(
    found: Window, now: datetime, left: timedelta, share: float
) -> None:
    turn = may_reload(found, now=now, served_until=now + left)
    if turn.now:
        assert turn.opens is None
        return
    assert turn.opens is not None
    assert now < turn.opens
    assert now + left - turn.opens >= min(left / 3, timedelta(hours=72))
    later = now + (turn.opens - now) * share
    then = may_reload(found, now=later, served_until=now + left)
    assert (then.now, then.opens) in {(False, turn.opens), (True, None)}
    assert not then.now or later >= turn.opens, "only the open window may end the waiting"


SUNDAY, NIGHTLY = window("Sun 02:00-05:00"), window("daily 02:00-05:00")
AFTER = at("2026-11-29 05:00")
"""A weekly window has just closed: the next one opens in 6 days and 21 hours."""


@pytest.mark.parametrize(
    ("left", "weekly", "nightly"),
    [
        # 90 days of life: renewed with a third left.
        (30 * DAY, "waits", "waits"),
        (11 * DAY, "waits", "waits"),
        # 72 hours after the opening are no longer left, nor would be after many days of failing.
        (9 * DAY, "now", "waits"),
        # 47 days: renewed with a third left.
        (15.7 * DAY, "waits", "waits"),
        # 160 hours: renewed with half of it left; a third of that is 27 hours.
        (80 * HOUR, "now", "waits"),
        (40 * HOUR, "now", "waits"),
        (31 * HOUR, "now", "now"),
        (6 * HOUR, "now", "now"),
        (-1 * HOUR, "now", "now"),
    ],
)
def test_a_life_that_is_short_does_not_wait(left: timedelta, weekly: str, nightly: str) -> None:
    for found, expected in ((SUNDAY, weekly), (NIGHTLY, nightly)):
        turn = may_reload(found, now=AFTER, served_until=AFTER + left)
        assert ("now" if turn.now else "waits") == expected, (written(found), turn)


def test_the_reason_is_said() -> None:
    assert may_reload(None, now=AFTER, served_until=None).reason == "the place has no window"
    inside = may_reload(SUNDAY, now=AFTER - MINUTE, served_until=AFTER)
    assert (inside.now, inside.early, inside.reason) == (True, False, "the window is open")
    waits = may_reload(SUNDAY, now=AFTER, served_until=None)
    assert (waits.now, waits.opens) == (False, at("2026-12-06 02:00"))
    late = may_reload(SUNDAY, now=AFTER, served_until=AFTER + DAY)
    assert (late.now, late.early) == (True, True)
    assert "opens at 2026-12-06 02:00 UTC, too late for what is served until 2026-11-30 05:00 UTC" in late.reason
    expired = may_reload(SUNDAY, now=AFTER, served_until=AFTER - DAY)
    assert "what is served expired at 2026-11-28 05:00 UTC" in expired.reason
