"""Which of a certificate's issuers is asked: the first, unless it is down or has asked to be left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from knit.core.model.attempt import Attempt, Step
from knit.core.model.certificate import CertSpec, Issued
from knit.core.model.decision import Rules
from knit.core.model.issuer import Terms

FORGIVEN = timedelta(hours=1)
"""An issuer that was found down so long ago is tried like any other: the next ladder's step is longer."""

CLOCKS_APART = timedelta(hours=1)
"""A CA's clock may be slow, or late with what it was sent in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one issuer has been to a certificate since that was last issued.

    `down_at` is when its latest try there ended because the issuer is down, does not let our account order, has asked
    it to wait, or has no such profile; None when it ended otherwise: names that are refused are refused by the next
    one too.
    `waits_until` is how long it is to be left alone, or has no budget left, whichever is longer.
    """

    down_at: datetime | None = None
    waits_until: datetime | None = None


def replacing(wanted: Sequence[Terms], spec: CertSpec, issued: Issued | None, rules: Rules) -> tuple[Terms, ...]:
    """Of these issuers those that may issue what takes the place of what is published.

    A certificate for trials takes the place of another one, and that of a trusted one only where that is asked for.
    """
    if issued is None or spec.allow_staging or rules.is_staging(issued.directory):
        return tuple(wanted)
    return tuple(terms for terms in wanted if not terms.staging)


def choose(wanted: Sequence[Terms], standings: Mapping[str, Standing], now: datetime) -> Terms:
    """Of at least one issuer, in order, the one to ask now. `standings` are by directory; none is a good one.

    The first that neither waits nor was down lately; else, of those that do not wait, the one that was down the longest
    ago; else the one that waits the shortest, for which a try has to wait.
    """
    open_ = [terms for terms in wanted if not _waits(terms, standings, now)]
    if not open_:
        return min(wanted, key=lambda terms: standings[terms.directory].waits_until or now)
    return next(
        (terms for terms in open_ if not _down(terms, standings, now)),
        min(open_, key=lambda terms: _at(terms, standings).down_at or now),
    )


def another(wanted: Sequence[Terms], standings: Mapping[str, Standing], directory: str, now: datetime) -> bool:
    """Whether the next try can be made elsewhere than at this directory, which has just been found down."""
    others = [terms for terms in wanted if terms.directory != directory]
    return any(not _waits(terms, standings, now) and not _down(terms, standings, now) for terms in others)


def over_at(attempt: Attempt) -> datetime | None:
    """When the order of an attempt, which may have been finalized, cannot be any more; None for any other attempt."""
    if attempt.step is not Step.FINALIZING or attempt.order_expires is None:
        return None
    return attempt.order_expires + CLOCKS_APART


def _at(terms: Terms, standings: Mapping[str, Standing]) -> Standing:
    return standings.get(terms.directory, Standing())


def _waits(terms: Terms, standings: Mapping[str, Standing], now: datetime) -> bool:
    until = _at(terms, standings).waits_until
    return until is not None and until > now


def _down(terms: Terms, standings: Mapping[str, Standing], now: datetime) -> bool:
    at = _at(terms, standings).down_at
    return at is not None and at > now - FORGIVEN
