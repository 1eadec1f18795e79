"""What a wish to revoke a certificate comes to: whether another one is published first, and what else is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from knit.core.imported import HOW, IMPORTED
from knit.core.model.attempt import Step
from knit.core.model.certificate import CertId
from knit.core.model.revocation import Revocation, Revoked
from knit.errors import Refused

COMPROMISED: Final = "keyCompromise"
OVER: Final = "cessationOfOperation"
REASONS: Final = (COMPROMISED, "superseded", OVER, "affiliationChanged", "unspecified")
"""Those of RFC 5280 section 5.3.1 that subscribers may give."""

NO_COPY: Final = (
    "what was published of it is gone from the certificate Valkey, so there is nothing to show the CA: a tool that "
    "takes a file can revoke it, with the files on a node (`certbot revoke --cert-path FILE --key-path FILE`)"
)
NOT_OURS: Final = (
    f"it is imported, and knit has no account at its CA: have it revoked where it was ordered; {HOW} with another one "
    "takes its place"
)
SIGNS_ITSELF: Final = "its issuer signs for trials and revokes nothing: nobody could ask whether it has"
NOBODY: Final = {"selfsigned": SIGNS_ITSELF, IMPORTED: NOT_OURS}
"""Kinds of issuers that knit cannot ask, and what is said instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One certificate of the list when it is asked for. `serial` and what follows are of what is issued, if it is.

    `published`: its value is in the certificate Valkey, as far as is recorded; `kind` is its issuer's; `step` its open
    attempt's; `left_out` says why a pass leaves it out. `former` is the newest revocation of this serial number.
    """

    cert_id: CertId
    enabled: bool
    left_out: str | None
    step: str | None
    serial: str | None
    not_after: datetime | None
    published: bool
    kind: str | None
    former: Revocation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks for. `replace`: another one first; None: as usual for the reason."""

    reason: str
    replace: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is done with the wish. `replace`: another certificate is published first; `renew`: it has to be asked for.

    `disable`: the certificate is taken off work, for nothing may be ordered for it any more; `compromise`: no key that
    it has had is ever published again.
    """

    reason: str
    replace: bool
    renew: bool
    disable: bool
    compromise: bool


def course(standing: Standing, wish: Wish, now: datetime) -> Course | None:
    """None when it is revoked already. Raises Refused for what cannot be revoked, or not so."""
    former = standing.former
    if former is not None and former.state is Revoked.REVOKED and not _outweighs(wish, former):
        return None
    if why := _impossible(standing, now):
        raise Refused(f"certificate {standing.cert_id}: {why}")
    replace = wish.replace if wish.replace is not None else standing.enabled and wish.reason != OVER
    if replace and (why := _irreplaceable(standing)):
        raise Refused(f"certificate {standing.cert_id} {why}")
    reason = former.reason if former is not None and former.state is Revoked.WANTED and _stays(former) else wish.reason
    compromise = wish.reason == COMPROMISED and (former is None or former.reason != COMPROMISED)
    return Course(
        reason=reason,
        replace=replace,
        renew=replace and (compromise or standing.step != Step.ISSUED),
        disable=standing.enabled and not replace and wish.reason == OVER,
        compromise=compromise,
    )


def _outweighs(wish: Wish, former: Revocation) -> bool:
    return wish.reason == COMPROMISED != former.reason


def _stays(former: Revocation) -> bool:
    """A key that was declared compromised is not so for another reason that is given later."""
    return former.reason == COMPROMISED


def _impossible(standing: Standing, now: datetime) -> str | None:
    if standing.serial is None or standing.not_after is None:
        return "nothing was ever issued for it"
    if standing.not_after <= now:
        return f"it expired at {standing.not_after:%Y-%m-%dT%H:%M:%SZ}, and what has expired need not be revoked"
    if standing.kind in NOBODY:
        return NOBODY[standing.kind]
    if standing.step == Step.PUBLISHING:
        return "another certificate is being published in its place at this moment: ask again in a few seconds"
    if not standing.published and standing.kind != "ca":
        return NO_COPY
    return None


def _irreplaceable(standing: Standing) -> str | None:
    if not standing.enabled:
        return "is disabled, so nothing is ordered for it: `knit enable` first, or --no-replace"
    return None if standing.left_out is None else f"is {standing.left_out}"
