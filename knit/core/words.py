"""Durations and switches as people write them, in a setting, a flag or a URL.

Each parser takes the text and returns the value, or raises ValueError whose text says what is allowed. Durations are
written as in Go (`90s`, `1h30m`, `1.5h`), also with days (`30d`), or as bare seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TERM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)")
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}

_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


LONGEST = timedelta(days=3660)
"""Ten years: longer ones are typing errors, but for few things."""


def duration(value: str, longest: timedelta = LONGEST) -> timedelta:
    """A positive Go duration or bare seconds."""
    allowed = f"a positive duration such as 90s, 5m, 1h30m, 30d or bare seconds, up to {in_days(longest)}"
    try:
        seconds = float(value) if _bare(value) else _go_seconds(value)
    except (ValueError, OverflowError):
        raise ValueError(allowed) from None
    if not 0 < seconds <= longest.total_seconds():
        raise ValueError(allowed)
    return timedelta(seconds=seconds)


def duration_or_zero(value: str) -> timedelta:
    """A duration that may be zero."""
    return timedelta(0) if value in {"0", "0s"} else duration(value)


def _bare(value: str) -> bool:
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) is not None


def _go_seconds(value: str) -> float:
    terms = _TERM.findall(value)
    if not terms or "".join(number + unit for number, unit in terms) != value:
        raise ValueError(value)
    return math.fsum(float(number) * _UNITS[unit] for number, unit in terms)


def flag(value: str) -> bool:
    """The words of Go's ParseBool."""
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    message = "true or false (also 1, t, 0, f)"
    raise ValueError(message)


def switch(value: str) -> bool:
    """A yes or no, as `flag`, in small or capital letters, and the words of lego's providers besides."""
    small = value.lower()
    return flag(_WORDS.get(small, small))


def in_hours(value: timedelta) -> str:
    """For programs: a duration as Go writes it, which has no days, in the largest unit that is exact."""
    return _in_units(value, {"h": 3600, "m": 60})


def in_days(value: timedelta) -> str:
    """For people: a duration in the largest unit that is exact, days among them."""
    return _in_units(value, {"d": 86400, "h": 3600, "m": 60})


def _in_units(value: timedelta, units: Mapping[str, int]) -> str:
    seconds = int(value.total_seconds())
    unit, size = next(((unit, size) for unit, size in units.items() if seconds % size == 0), ("s", 1))
    return f"{seconds // size}{unit}"
