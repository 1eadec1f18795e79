"""The brake on mass renewals: how many may be ordered anew at once for another reason than that their time has come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from knit.core.model.certificate import CertId
from knit.core.model.decision import Reason

MASS_COUNT: Final = 20
MASS_SHARE: Final = 0.1
AGAIN: Final = timedelta(hours=1)
"""When held-back certificates are reconsidered: another batch of the same size may go then."""

CONFIRMED: Final = timedelta(days=1)
"""For how long a person's word lets all of them go."""

MASSED: Final = frozenset({
    Reason.NOT_PUBLISHED,
    Reason.NAMES_CHANGED,
    Reason.ISSUER_CHANGED,
    Reason.DIRECTORY_CHANGED,
    Reason.KEY_TYPE_CHANGED,
    Reason.PROFILE_CHANGED,
    Reason.CHAIN_CHANGED,
})  # fmt: skip
"""What one mistake makes true of all certificates at once: an emptied Valkey, another directory, an old database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Massed:
    """A certificate that is due for such a reason, when what it has expires, and when its time would come anyway."""

    cert_id: CertId
    not_after: datetime
    turn_at: datetime

    def again(self, now: datetime) -> datetime:
        """When it is looked at again while it is held back: its own time is never waited past."""
        return min(now + AGAIN, self.turn_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many certificates are enabled, how many were begun with for such a reason in the last hour.

    `confirmed`: a person has said lately that all may go.
    """

    enabled: int
    begun: int
    confirmed: bool = False

    @property
    def room(self) -> int | None:
        """How many more may be begun with now; None for any number."""
        return None if self.confirmed else room(enabled=self.enabled, begun=self.begun)


def room(*, enabled: int, begun: int) -> int:
    """How many more may be begun with in this hour."""
    return max(max(MASS_COUNT, int(enabled * MASS_SHARE)) - begun, 0)


def released(massed: Iterable[Massed], pace: Pace) -> frozenset[CertId]:
    """The certificates that may go now, the soonest to expire first."""
    by_urgency = sorted(massed, key=lambda one: (one.not_after, one.cert_id))
    return frozenset(one.cert_id for one in by_urgency[: pace.room])
