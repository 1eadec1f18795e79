"""One certificate of the list and its attempts, as people look at them.

Apart from the other records: a tenth of the time of `knit list` would be spent on making their classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from knit.core.imported import is_imported

if TYPE_CHECKING:
    from knit.core.model.certificate import CertId


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of `knit list`. `adopted` is False for a row that is new or left out; `step` is its open attempt's.

    `waits_for` is what leaves no room for its order now; `changed`: no pass has looked at it since its row was changed.
    The window is the one that its CA suggests for its renewal, `suggested_at` the instant in it, `window_checked_at`
    when the CA last said so. `revoked`: what is published has been revoked.
    `refusal_class` is that of an error for which no attempt was begun.
    """

    id: CertId
    enabled: bool
    domains: str
    adopted: bool
    provider: str
    valkey_key: str
    cert_path: str
    key_path: str
    not_after: datetime | None
    last_renewed: datetime | None
    last_error: str | None
    issuer: str
    key_type: str
    profile: str | None
    preferred_chain: str | None
    renew_before: timedelta | None
    requested_at: datetime | None
    published_at: datetime | None
    step: str | None
    failures: int
    retry_at: datetime | None
    check_at: datetime | None
    not_before: datetime | None = None
    directory: str | None = None
    reuse_key: bool = False
    allow_staging: bool = False
    key_since: datetime | None = None
    waits_for: str | None = None
    changed: bool = False
    window_start: datetime | None = None
    window_end: datetime | None = None
    suggested_at: datetime | None = None
    window_checked_at: datetime | None = None
    explanation_url: str | None = None
    revoked: bool = False
    refusal_class: str | None = None

    @property
    def names(self) -> list[str]:
        """The names as stored, first one first."""
        return [name.strip() for name in self.domains.split(",") if name.strip()]

    @property
    def imported(self) -> bool:
        """Whether knit never orders it: a person brings its certificate."""
        return is_imported(self.issuer)

    @property
    def failing(self) -> bool:
        """Whether something is wrong that a person may have to look at."""
        return self.enabled and (self.left_out or self.failures > 0 or self.last_error is not None)

    @property
    def left_out(self) -> bool:
        """Whether a pass has looked at it and found that it cannot be a certificate beside the others."""
        return not self.adopted and self.last_error is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt, as the journal keeps it."""

    id: int
    started_at: datetime
    ended_at: datetime | None
    step: str
    reason: str
    directory: str
    order_url: str | None
    error: str | None
    retry_at: datetime | None
    error_class: str | None = None
