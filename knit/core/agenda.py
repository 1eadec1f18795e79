"""Whether a pass is due now, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

CLOSEST = timedelta(seconds=30)
"""Between two passes that nobody asked for: instants planned within this time are looked at together."""

APART = timedelta(minutes=1)
"""Between two messages of one errand: one is enough for all that is due."""

PATIENCE = timedelta(minutes=2)
"""How long a pass may take before its message is taken for lost; doubled each time, up to the interval."""

SETTLED = timedelta(seconds=3)
"""How long the list must have stayed as it is: a person or a script seldom changes one certificate alone."""

LONGEST = timedelta(seconds=15)
"""How long a list that goes on changing is waited for."""


class PassReason(StrEnum):
    """What a pass is asked for."""

    START = "a scheduler has started"
    CHANGED = "the list has changed"
    PLANNED = "a planned instant has come"
    INTERVAL = "an interval has passed"
    LOST = "the last one was not done"
    ASKED = "somebody asked for one"


class Errand(StrEnum):
    """What workers do besides passes, all that is due of it at once; the value is the actor's name."""

    POLL = "poll"
    REVOKE = "revoke"
    COLLECT = "collect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What Postgres knows about passes, at `at` on its own clock.

    `changed_at`: the list was last changed by a command; `passed_at`: a pass was last done; `planned_at`: the first
    instant, after the last message, at which some certificate has to be looked at; `errands`: what else there is to do.
    """

    at: datetime
    changed_at: datetime | None
    passed_at: datetime | None
    planned_at: datetime | None
    errands: tuple[Errand, ...] = ()

    def done_since(self, asked_at: datetime) -> bool:
        """Whether a pass has been done since then."""
        return self.passed_at is not None and self.passed_at >= asked_at


def why(agenda: Agenda, asked_at: datetime | None, interval: timedelta, vain: int) -> PassReason | None:
    """What a pass is due for, if one is. `asked_at` is when the last one was asked for, `vain` how many were lost."""
    if asked_at is None:
        return PassReason.START
    passed = agenda.at - asked_at
    if agenda.changed_at is not None and agenda.changed_at > asked_at:
        return PassReason.CHANGED
    if passed >= interval:
        return PassReason.INTERVAL
    if not agenda.done_since(asked_at):
        return PassReason.LOST if passed >= min(PATIENCE * 2 ** min(vain, 20), interval) else None
    if agenda.planned_at is not None and agenda.planned_at <= agenda.at and passed >= CLOSEST:
        return PassReason.PLANNED
    return None


def errands(agenda: Agenda, sent: Mapping[Errand, datetime]) -> Sequence[Errand]:
    """What workers are to be told to do besides passes; `sent` is when a message to do so was last sent."""
    return [one for one in agenda.errands if one not in sent or agenda.at - sent[one] >= APART]


def settled(agenda: Agenda, since: datetime) -> bool:
    """Whether a pass for changes of the list, the first of them seen at `since`, need not wait for more of them."""
    return agenda.changed_at is None or agenda.at - agenda.changed_at >= SETTLED or agenda.at - since >= LONGEST
