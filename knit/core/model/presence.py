"""Who is there to work, and where one certificate is: what somebody who waits for it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from knit.core.model.certificate import CertId


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Who is there. `renewing` and `publishing` count worker processes on the queue's two sides.

    `alone`: a centre that works without a queue. `trouble` is what is in some worker's way.
    """

    renewing: int
    publishing: int
    alone: bool
    scheduled: bool
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Where one certificate is. `step`, `error`, `error_class` and `retry_at` are its open attempt's.

    `held`: a worker is on it now. `proving` are the names whose TXT values are set; `validating`: the CA has been told
    so. `paused_until`: its CA has asked to be left alone, in the words `said`. `looked_at`: a worker last found it not
    due.
    """

    id: CertId
    domains: str
    held: bool
    step: str | None = None
    error: str | None = None
    error_class: str | None = None
    retry_at: datetime | None = None
    proving: tuple[str, ...] = ()
    validating: bool = False
    paused_until: datetime | None = None
    said: str | None = None
    looked_at: datetime | None = None
