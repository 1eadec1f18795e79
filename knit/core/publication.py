"""What to prune from the published set, and the guard that keeps a wrong database from emptying it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from knit.errors import UnsafePublish

GUARD_COUNT = 10
GUARD_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """`explained` was removed or disabled by somebody; `unexplained` is in the index, and nobody knows why."""

    explained: frozenset[str]
    unexplained: frozenset[str]


def plan_prune(*, index: AbstractSet[str], wanted: AbstractSet[str], tombstones: AbstractSet[str]) -> PrunePlan:
    """`wanted` are the keys of enabled rows; `tombstones` those of removed and disabled ones."""
    extra = index - wanted
    return PrunePlan(explained=frozenset(extra & tombstones), unexplained=frozenset(extra - tombstones))


def guard(plan: PrunePlan, *, live: int) -> None:
    """Raise UnsafePublish when the unexplained part is too large to be anything but a mistake.

    `live` is the number of index members before the prune.
    """
    count = len(plan.unexplained)
    if count == 0:
        return
    limit = max(GUARD_COUNT, int(live * GUARD_SHARE))
    if count > limit or count >= live:
        message = (
            f"{count} of {live} published keys belong to no certificate and no removal that this database knows; "
            f"pruning stops at {limit} and never takes all. Is KNIT_DB_URL the right database, and KNIT_INDEX_KEY "
            f"this installation's own? Everything is kept"
        )
        raise UnsafePublish(message)
