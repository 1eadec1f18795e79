"""Why a certificate is as it is: the class of what is in its way, who has to act, and when it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from knit.core.imported import HOW, expiring, notice_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from knit.core.model.listing import Listed, Try

NOBODY = "nobody: it goes on by itself"
OPERATOR = "whoever runs knit"
BRINGER = f"whoever has the certificate: {HOW}, with its successor or again"
NOBODY_YET = "nobody, before it expires soon: whoever has the certificate brings the next one"
NAMES = "whoever answers for the names: their DNS, their CAA records, the names that a CA of your own permits"

CAUSES: Mapping[str, tuple[str, str]] = {
    "AccountLimited": ("limit", NOBODY),
    "RateLimited": ("limit", NOBODY),
    "OverBudget": ("limit", NOBODY),
    "Unreachable": ("network", NOBODY),
    "Transient": ("unexpected", OPERATOR),
    "IssuerDown": ("network", NOBODY),
    "Outage": ("server", f"{OPERATOR}: a server of knit's own is away"),
    "RowHeld": ("server", f"{OPERATOR}: a transaction in PostgreSQL that stays open"),
    "OrderKept": ("kept order", NOBODY),
    "OrderLost": ("lost order", f"{OPERATOR}: the certificate Valkey must keep what it is given"),
    "NotVisible": ("dns", "whoever runs the name servers of the zone"),
    "Busy": ("busy", NOBODY),
    "IdentifierRejected": ("names", NAMES),
    "CredentialsRejected": ("credentials", f"{OPERATOR}: a credential or an account"),
    "AccountUnusable": ("credentials", f"{OPERATOR}: the account at the CA"),
    "ServerDenied": ("credentials", f"{OPERATOR}: the user of a server of knit's own"),
    "NotPermitted": ("credentials", f"{OPERATOR}: the rights of PostgreSQL's user"),
    "Misconfigured": ("configuration", OPERATOR),
    "IssuerUnusable": ("configuration", f"{OPERATOR}: what is set for the issuer, or what opens its account's key"),
    "BundleMismatch": ("certificate", f"{OPERATOR}: the CA issued what is not fit for use"),
    "NotOffered": ("refused", OPERATOR),
    "KeyRefused": ("refused", f"{OPERATOR}: another `--key-type`, or a new key (`--no-reuse-key`)"),
    "Refused": ("refused", OPERATOR),
}
"""By the class of the error that an attempt ended with."""

UNKNOWN = ("unexpected", OPERATOR)
TO_BE_LOOKED_AT = "the next pass looks at it, as `knit plan` tells"
HELD_BACK = "its renewal is held back until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """`said` is the other side's own words, or knit's; `who` has to act; `next_try`, when knit looks again."""

    state: str
    cause: str | None
    said: str | None
    who: str
    next_try: datetime | None


def why(cert: Listed, tries: tuple[Try, ...], now: datetime) -> Why:
    """Why one certificate is as it is. `tries` are its attempts, the newest first."""
    if not cert.enabled:
        return Why(state="disabled", cause=None, said=None, who=f"{OPERATOR}: `knit enable`", next_try=None)
    if cert.left_out:
        return Why(state="left out", cause="list", said=cert.last_error, who=OPERATOR, next_try=None)
    if cert.failing:
        theirs = cert.imported and HOW in (cert.last_error or "")
        return _to_import(cert, now) if theirs else _failing(cert, tries)
    return _calm(cert, now)


def _calm(cert: Listed, now: datetime) -> Why:
    """Nothing is wrong with it."""
    if cert.step is not None:
        return Why(state=f"in progress: {cert.step}", cause=None, said=None, who=NOBODY, next_try=cert.retry_at)
    if cert.waits_for is not None:
        return Why(state="waiting", cause="limit", said=cert.waits_for, who=NOBODY, next_try=cert.check_at)
    if cert.imported:
        return _to_import(cert, now)
    state = "published" if cert.published_at is not None else "waiting for its first certificate"
    if cert.changed or cert.check_at is None or cert.check_at <= now:
        return Why(state=state, cause=None, said=TO_BE_LOOKED_AT, who=NOBODY, next_try=None)
    return Why(state=state, cause=None, said=None, who=NOBODY, next_try=cert.check_at)


def _to_import(cert: Listed, now: datetime) -> Why:
    at = notice_at(cert.not_before, cert.not_after, cert.renew_before) if cert.not_before and cert.not_after else now
    if not cert.failing and at > now:
        return Why(state="published", cause=None, said=None, who=NOBODY_YET, next_try=at)
    state = "failing" if cert.failing else "expires soon"
    said = cert.last_error or (None if cert.not_after is None else expiring(cert.not_after))
    return Why(state=state, cause="import", said=said, who=BRINGER, next_try=None)


def _failing(cert: Listed, tries: tuple[Try, ...]) -> Why:
    said = cert.last_error
    if said is not None and HELD_BACK in said:
        who = f"{NOBODY}; {OPERATOR} may let all go at once: `knit renew --confirm-mass`"
        return Why(state="held back", cause="mass renewal", said=said, who=who, next_try=cert.check_at)
    kinds = (one.error_class for one in tries if one.error is not None and one.error == said)
    cause, who = CAUSES.get(next(kinds, None) or cert.refusal_class or "", UNKNOWN)
    limited = cause == "limit"
    at = cert.retry_at or cert.check_at
    return Why(state="waiting" if limited else "failing", cause=cause, said=said, who=who, next_try=at)
