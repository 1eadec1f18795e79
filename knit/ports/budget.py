"""What is left of the limits of CAs, over all workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from knit.core.budget import BucketKey, Level
from knit.core.limits import Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import Rules, Wait


class Budgets(Protocol):
    """The buckets, and who waits for them. Attempts charge them as they begin and go on: see `Attempts.begin`."""

    def levels(self, keys: Collection[BucketKey]) -> Mapping[BucketKey, Level]:
        """The levels of these buckets that are not full."""

    def every(self) -> Mapping[BucketKey, Level]:
        """The levels of all buckets that are not full."""

    def exhausted(self, key: BucketKey, rate: Rate, until: datetime) -> None:
        """The CA has said that this bucket has no token before then."""

    def wait(self, waits: Mapping[CertId, Wait], rules: Rules) -> None:
        """These certificates are due and wait for room, with the instant and the reason: shown, and not a failure."""

    def waiting(self, at: datetime, reasons: Collection[str] | None = None) -> Mapping[CertId, Wait]:
        """The certificates that still wait for room at this time: for one of these reasons, or for any."""
