"""The nodes of a fleet, as their reports tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What is recorded of a node's last report: digests of its head and of each of its parts.

    `revision` grows with each record; 0 for a node that is not known, or was forgotten after this very
    report. `refused` is what was wrong with its last report.
    """

    name: str
    head: str | None = None
    parts: Mapping[int, str] = field(default_factory=dict)
    revision: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. `fine` of its `certificates` are served there as they should be; `orphaned` are published no more."""

    name: str
    version: str
    first_seen: datetime
    last_report: datetime
    report_interval: timedelta
    silent: bool
    refused: str | None
    certificates: int
    fine: int
    orphaned: int

    @property
    def state(self) -> str:
        """In a word: a node that is silent is so whatever it said last."""
        return "silent" if self.silent else "refused" if self.refused is not None else "reporting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """When one generation first got to each step on one node, and what showed it."""

    node: str
    generation: int
    serial: str | None
    fingerprint: str | None
    published_at: datetime | None
    written_at: datetime | None
    reloaded_at: datetime | None
    served_at: datetime | None
    served_on: str | None
    failed_at: datetime | None
    failed_step: str | None
    failed_error: str | None
    rolled_back: bool
