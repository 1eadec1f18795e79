"""Certificates that knit did not order: a person brings each of them, and is told in time to bring the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from knit.core.model.attempt import Attempt
    from knit.core.model.certificate import CertSpec, Issued
    from knit.core.model.decision import CertState

IMPORTED: Final = "imported"
"""What stands for their issuer and its directory, in the list and in values; no issuer may be called so."""

REASON: Final = "imported by a person"
"""Why an attempt of theirs was begun."""

NOTICE: Final = timedelta(days=30)
"""How long before the end a person is told, where that is less than a third of the life."""

PATIENCE: Final = timedelta(minutes=5)
"""An import that takes longer was killed: it takes as long as writing to two servers."""

AGAIN: Final = timedelta(hours=1)
"""When a lost value is looked for again."""

HOW: Final = "`knit import pem`"


class Lack(StrEnum):
    """What a person has to bring a certificate for; the values are words in PostgreSQL."""

    EXPIRING = "expiring"
    EXPIRED = "expired"
    LOST = "lost"
    MISSING = "missing"

    @property
    def fails(self) -> bool:
        """Whether it is not as wanted already."""
        return self is not Lack.EXPIRING


EXPIRIES: Final = frozenset({Lack.EXPIRING, Lack.EXPIRED})
"""What is told once of each certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A person has to import one. `until` is when it is looked at again; None: at the next pass."""

    lack: Lack
    said: str
    until: datetime | None


NONE_YET: Final = Needed(
    lack=Lack.MISSING, said=f"it is to be imported, and no certificate was: {HOW} does that", until=None
)


def is_imported(issuer: str) -> bool:
    """Whether a row says of its issuers that its certificate is imported."""
    return issuer.strip() == IMPORTED


def notice_at(not_before: datetime, not_after: datetime, renew_before: timedelta | None) -> datetime:
    """From when on a person is told of the end: so long before as was asked for, else by the rule of NOTICE."""
    early = renew_before or min(NOTICE, (not_after - not_before) / 3)
    return max(not_before, not_after - early)


def decide(spec: CertSpec, state: CertState, now: datetime) -> Needed | datetime | None:
    """What a person has to do about an imported certificate; else until when nothing.

    None while what was imported waits to be published.
    """
    if state.attempt is not None and not is_stray(state.attempt, now):
        return None if _waits_to_be_published(state.attempt) else state.attempt.started_at + PATIENCE
    return NONE_YET if state.issued is None else _of_published(spec, state.issued, state, now)


def _of_published(spec: CertSpec, issued: Issued, state: CertState, now: datetime) -> Needed | datetime:
    if issued.directory != IMPORTED or issued.names_key != spec.names_key:
        return Needed(lack=Lack.MISSING, said=_another(issued), until=None)
    if issued.not_after <= now:
        said = f"it expired at {_instant(issued.not_after)}: {HOW} with its successor takes its place"
        return Needed(lack=Lack.EXPIRED, said=said, until=now + timedelta(days=1))
    if not state.published:
        said = f"its published value is lost, and knit has no other copy of it: {HOW} again publishes it"
        return Needed(lack=Lack.LOST, said=said, until=min(now + AGAIN, issued.not_after))
    at = notice_at(issued.not_before, issued.not_after, spec.renew_before)
    if at <= now:
        return Needed(lack=Lack.EXPIRING, said=expiring(issued.not_after), until=issued.not_after)
    return at


def is_stray(attempt: Attempt, now: datetime) -> bool:
    """Whether an open attempt of an imported certificate is to be ended: nobody goes on with it."""
    if attempt.issuer != IMPORTED:
        return True
    return not _waits_to_be_published(attempt) and (attempt.step != "planned" or attempt.started_at + PATIENCE <= now)


def expiring(not_after: datetime) -> str:
    """What is said of one that ends soon."""
    return f"it expires at {_instant(not_after)}: {HOW} with its successor takes its place"


def _waits_to_be_published(attempt: Attempt) -> bool:
    return attempt.issuer == IMPORTED and attempt.step in ("issued", "publishing")


def _another(issued: Issued) -> str:
    if issued.directory == IMPORTED:
        return f"the imported certificate is for other names: {HOW} with another one takes its place"
    return f"its import was not finished, and nothing renews what is published: {HOW} again finishes it"


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
