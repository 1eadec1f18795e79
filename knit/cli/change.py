"""From the flags of `knit add` and `knit set` to what is said about a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from knit.core.wanted import OPTIONS, Change
from knit.core.words import duration
from knit.errors import Misconfigured

TEXTS = tuple(name for name in OPTIONS if name != "renew_before")


def change_from(typed: Mapping[str, str]) -> Change:
    """`typed` holds the flags that were given, by their names with underscores.

    Raises Misconfigured for a time that is none.
    """
    return Change(
        names=_names(typed["domains"]) if "domains" in typed else None,
        add_names=_names(typed.get("add_names", "")),
        remove_names=_names(typed.get("remove_names", "")),
        renew_before=_renew_before(typed.get("renew_before")),
        **{name: typed[name] for name in TEXTS if name in typed},
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name.strip())


def _renew_before(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return duration(text) if text else timedelta(0)
    except ValueError as error:
        raise Misconfigured(f"renew_before {text!r}: must be {error}") from None
