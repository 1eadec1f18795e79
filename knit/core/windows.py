"""When a place may be reloaded: in its window, and at once where waiting for it would cost too much of a life."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from knit.core.model.places import Window

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAILY = "daily"
EXAMPLES = '"Sun 02:00-05:00", "Mon-Fri 22:00-04:00 Europe/Zurich" or "daily 02:00-03:00"'

SHARE = 3
LEFT = timedelta(hours=72)
"""What is left, when the window opens, of the certificate that is served: so much of its remaining life, or this."""

_DAY = timedelta(days=1)
_NUMBERS = {name.lower(): number for number, name in enumerate(DAYS)}
_WINDOW = re.compile(r"([A-Za-z,-]+) +([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})(?: +(\S+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whether a place may be reloaded now, and why so; `opens`: when its window does, where the reload waits for it.

    `early`: it may although its window is not open.
    """

    now: bool
    reason: str
    early: bool = False
    opens: datetime | None = None


def may_reload(window: Window | None, *, now: datetime, served_until: datetime | None) -> Turn:
    """Whether a place may be reloaded now.

    `served_until` is when the first of the certificates expires that the place serves and that the reload is to
    replace; where it serves none of them yet, when the first of the new ones does. None: nothing can expire.

    A reload waits for the window. It does not where, at the window's opening, less would be left of that certificate
    than a third of what is left now, or than 72 hours if that is less. What once may wait may wait until the window
    opens: the later it is, the less has to be left.
    """
    if window is None:
        return Turn(now=True, reason="the place has no window")
    begin, _ = opening(window, now)
    if begin <= now:
        return Turn(now=True, reason="the window is open")
    if served_until is None:
        return Turn(now=False, reason="it waits for the window", opens=begin)
    if served_until - begin < min((served_until - now) / SHARE, LEFT):
        return Turn(now=True, reason=_too_late(served_until, begin, now), early=True)
    return Turn(now=False, reason="it waits for the window", opens=begin)


def _too_late(served_until: datetime, begin: datetime, now: datetime) -> str:
    if served_until <= now:
        return f"the window opens at {_told(begin)}, and what is served expired at {_told(served_until)}"
    return f"the window opens at {_told(begin)}, too late for what is served until {_told(served_until)}"


def _told(when: datetime) -> str:
    return f"{when.astimezone(UTC):%F %H:%M} UTC"


def opening(window: Window, now: datetime) -> tuple[datetime, datetime]:
    """From when to when the window is open that is open now, or else the next time; in UTC, `now` is aware."""
    today = now.astimezone(window.zone).date()
    # A day may be missing from a zone, and two windows of one zone may touch.
    days = (today + number * _DAY for number in range(-2, 10))
    return min(span for day in days if day.weekday() in window.days and (span := _span(window, day))[1] > now)


def _span(window: Window, day: date) -> tuple[datetime, datetime]:
    """From when to when it is open on this day.

    Where the clocks are put on or back: a time that is missing is as much later as they are put on, and of one that
    comes twice a window begins with the first and ends with the second.
    """
    last = day if window.end > window.start else day + _DAY
    begin = datetime.combine(day, window.start, window.zone).astimezone(UTC)
    ends = (datetime.combine(last, window.end.replace(fold=fold), window.zone).astimezone(UTC) for fold in (0, 1))
    end = max(ends)
    if end <= begin:
        end = begin + (datetime.combine(last, window.end) - datetime.combine(day, window.start))
    return begin, end


def parsed(text: str, zones: Callable[[str], tzinfo]) -> Window:
    """A window as people write it; `zones` finds a zone by its name, or raises ValueError. Raises ValueError."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(f"days and times such as {EXAMPLES}")
    days, start, end, zone = found.groups()
    return Window(
        days=_days(days),
        start=_time(start),
        # 24:00 is the first moment of the next day, which an end of 00:00 is too.
        end=time(0) if end == "24:00" else _time(end),
        zone=UTC if zone is None else zones(zone),
    )


def _days(text: str) -> frozenset[int]:
    if text.lower() == DAILY:
        return frozenset(range(len(DAYS)))
    return frozenset(number for part in text.split(",") for number in _run(part))


def _run(part: str) -> list[int]:
    first, hyphen, last = part.lower().partition("-")
    if first not in _NUMBERS or (hyphen and last not in _NUMBERS):
        raise ValueError(f"{DAILY} or days of {', '.join(DAYS)}, as in {EXAMPLES}")
    begin = _NUMBERS[first]
    length = (_NUMBERS[last] - begin) % len(DAYS) if hyphen else 0
    return [(begin + step) % len(DAYS) for step in range(length + 1)]


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ValueError(f"times from 00:00 to 24:00, as in {EXAMPLES}") from None


def written(window: Window) -> str:
    """The window as people write it."""
    days = DAILY if len(window.days) == len(DAYS) else ",".join(DAYS[number] for number in sorted(window.days))
    return f"{days} {window.start:%H:%M}-{window.end:%H:%M} {window.zone}"
