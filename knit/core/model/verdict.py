"""What a pass has decided about one certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from knit.core.budget import Cost
from knit.core.imported import Lack
from knit.core.model.certificate import CertId
from knit.core.model.decision import Reason, Wait


class Act(StrEnum):
    """What the pass does. The values are the words of `knit plan`."""

    RENEW = "renew"
    CLEAN = "remove records"
    WAIT = "wait"
    OVER_BUDGET = "wait for room"
    HELD_BACK = "hold back"
    IMPORT = "wait for an import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One certificate. `until` is when it is looked at again, `why` what the wait is for; None where nothing waits.

    `reason` makes it due. `costs` are what its order takes of the budgets; none for an attempt that goes on. `rank`
    puts the most urgent first; `leftovers`: challenge records of it are to be removed; `asked`: workers know of it.
    `lack` is what a person has to import a certificate for.
    """

    cert_id: CertId
    names_key: str
    act: Act
    rank: tuple[bool, datetime]
    reason: Reason | None = None
    until: datetime | None = None
    why: str | None = None
    costs: tuple[Cost, ...] = ()
    leftovers: bool = False
    asked: bool = False
    lost_again: bool = False
    lack: Lack | None = None

    @property
    def wait(self) -> Wait | None:
        """Where it waits for room."""
        if self.act is not Act.OVER_BUDGET or self.until is None:
            return None
        return Wait(until=self.until, reason=self.why or "")

    @property
    def goes(self) -> bool:
        """Whether a worker is asked."""
        return self.act in {Act.RENEW, Act.CLEAN} or (self.leftovers and self.act is not Act.HELD_BACK)
