"""Whether a Valkey is the one that this database publishes to."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NoReturn

from knit.errors import ForeignValkey

WAY_OUT = "Nothing is written or ordered. `knit adopt-valkey` takes it over on purpose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One database of knit. `place` is where the Valkey was that it last published to, None before the first time."""

    id: str
    place: str | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmarked:
    """A Valkey that carries no installation's id: what is in its index, and how much of that this database explains."""

    place: str
    index: AbstractSet[str]
    explained: AbstractSet[str]


def refuse(found: str, place: str) -> NoReturn:
    """The Valkey carries the id of another installation."""
    message = (
        f"the Valkey at {place} belongs to another installation of knit ({found[:8]}). Is KNIT_DB_URL the right "
        f"database, KNIT_VALKEY_URL the right Valkey, and KNIT_INDEX_KEY this installation's own? {WAY_OUT}"
    )
    raise ForeignValkey(message)


def may_claim(ours: Installation, valkey: Unmarked, *, publishes: bool) -> None:
    """Return when a Valkey without an id may become this installation's; raise ForeignValkey otherwise.

    One that was emptied, or restored from before it had an id, is known by its place. A database that has never
    published with an id takes the Valkey that fits what it lists: `publishes` says whether it counts anything as
    published.
    """
    if ours.place == valkey.place:
        return
    if ours.place is not None:
        message = (
            f"the Valkey at {valkey.place} is not the one that this database publishes to ({ours.place}). "
            f"Is KNIT_VALKEY_URL right, its database number too? {WAY_OUT}"
        )
        raise ForeignValkey(message)
    strangers = len(valkey.index - valkey.explained)
    if 2 * strangers > len(valkey.index):
        message = (
            f"{strangers} of {len(valkey.index)} values published at {valkey.place} belong to no certificate of this "
            f"database. Is KNIT_DB_URL the right database, and KNIT_VALKEY_URL the right Valkey? {WAY_OUT}"
        )
        raise ForeignValkey(message)
    if publishes and not valkey.index:
        message = (
            f"the Valkey at {valkey.place} holds nothing of what this database has published. Is KNIT_VALKEY_URL "
            f"right, its database number too? {WAY_OUT}"
        )
        raise ForeignValkey(message)
