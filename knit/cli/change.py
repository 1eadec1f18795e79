"""From the flags of `knit add` and `knit set` to what is said about a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from knit.core.wanted import DEFAULTS, OPTIONS, Change
from knit.core.words import duration
from knit.errors import Misconfigured

SWITCHES = tuple(name for name, default in DEFAULTS.items() if isinstance(default, bool))
TEXTS = tuple(name for name in OPTIONS if name not in ("renew_before", *SWITCHES))


def typed_of(given: Mapping[str, str | bool | None]) -> tuple[dict[str, str], dict[str, bool]]:
    """The flags that were given: texts, and switches."""
    texts = {name: value.strip() for name, value in given.items() if isinstance(value, str)}
    return texts, {name: value for name, value in given.items() if isinstance(value, bool)}


def change_from(typed: Mapping[str, str], switches: Mapping[str, bool] = MappingProxyType({})) -> Change:
    """`typed` and `switches` hold the flags that were given, by their names with underscores.

    Raises Misconfigured for a text that is not a duration.
    """
    options: dict[str, Any] = {name: typed[name] for name in TEXTS if name in typed}
    return Change(
        names=_names(typed["domains"]) if "domains" in typed else None,
        add_names=_names(typed.get("add_names", "")),
        remove_names=_names(typed.get("remove_names", "")),
        renew_before=_renew_before(typed.get("renew_before")),
        **{**options, **switches},
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name.strip())


def _renew_before(text: str | None) -> timedelta | None:
    if text is None:
        return None
    if text.isdecimal():
        raise Misconfigured(f"renew_before {text!r}: of what? {text}d are days, {text}h hours")
    try:
        return duration(text) if text else timedelta(0)
    except ValueError as error:
        raise Misconfigured(f"renew_before {text!r}: must be {error}") from None
