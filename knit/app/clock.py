"""The clock of this process."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present time, aware, UTC."""
    return datetime.now(UTC)
