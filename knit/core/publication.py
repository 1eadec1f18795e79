"""What to prune from the published set, and the guard that keeps a wrong database from emptying it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from knit.core.value import Value
from knit.errors import BundleMismatch, UnsafePublish

GUARD_COUNT = 10
GUARD_SHARE = 0.2
KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplained:
    """A value in the index that no row and no tombstone explains, since when, and whether a server could use it."""

    since: datetime
    valid: bool

    @property
    def until(self) -> datetime:
        """How long it is kept."""
        return self.since + KEPT if self.valid else self.since


def is_good_of_ours(raw: bytes, installation: str, now: datetime) -> bool | None:
    """Whether a value that names this installation is good and has not expired; None where it names another or none.

    Values of the Go knit and strings of other software name none: nobody has asked for their removal.
    """
    try:
        value = Value.from_wire(raw)
    except BundleMismatch:
        return None
    if value.mark is None or value.mark.installation != installation:
        return None
    try:
        value.verify()
    except BundleMismatch:
        return False
    return value.not_after > now


def is_foreign(raw: bytes, installation: str) -> bool:
    """Whether what lies under a key of ours cannot have been put there by this installation, or for it.

    The Go knit and earlier versions wrote no installation's id.
    """
    try:
        value = Value.from_wire(raw)
    except BundleMismatch:
        return raw != b""
    return value.mark is not None and value.mark.installation not in {None, installation}


def ripe(unexplained: Mapping[str, Unexplained], now: datetime, *, confirmed: bool = False) -> frozenset[str]:
    """The keys that need not be kept any longer; all of them once a person has confirmed that."""
    return frozenset(key for key, one in unexplained.items() if confirmed or one.until <= now)


def guard(keys: AbstractSet[str], *, live: int, confirmed: bool = False) -> None:
    """Raise UnsafePublish when so many unexplained values would go that it can only be a mistake.

    `live` is the number of index members before the prune. A person may confirm any number, but not all of them.
    """
    count = len(keys)
    if count == 0:
        return
    limit = live if confirmed else max(GUARD_COUNT, int(live * GUARD_SHARE))
    if count > limit or count >= live:
        bound = "a prune never takes all" if count >= live else f"pruning stops at {limit} and never takes all"
        message = (
            f"{count} of {live} published keys belong to no certificate and no removal that this database knows; "
            f"{bound}. Is KNIT_DB_URL the right database, and KNIT_INDEX_KEY this installation's own? Everything is "
            f"kept; `knit prune` shows what and why"
        )
        raise UnsafePublish(message)


def readable(raw: bytes) -> Value | None:
    """The value, if it is a sound one."""
    try:
        value = Value.from_wire(raw)
        value.verify()
    except BundleMismatch:
        return None
    return value


def generation_of(token: str) -> int:
    """The generation of what is stored, by its token; 0 for what has none."""
    return int(token) if token.isdigit() else 0


def above(generation: int, now: datetime) -> int:
    """A generation greater than this one, and never below the clock's seconds.

    When Postgres and Valkey are both lost, what nodes remember must not be greater than what comes after.
    """
    return max(generation + 1, int(now.timestamp()))
