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
    "it is imported, and knit has no account at its CA: have it revoked where it was ordered or, by its own key, at an "
    f"issuer that is configured here (--issuer NAME); {HOW} with another one takes its place"
)
SIGNS_ITSELF: Final = "its issuer signs for trials and revokes nothing: nobody could ask whether it has"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One certificate of the list when it is asked for. `serial` and what follows are of what is issued, if it is.

    `published`: its value is in the certificate Valkey, as far as is recorded; `kind` is its issuer's; `step` its open
    attempt's; `left_out` says why a pass leaves it out. `former` is the newest revocation of this serial number.
    `past`: it is not on the list any more, or has another one in its place; then `published` says that a copy of it is
    kept.
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
    past: bool = False

    @property
    def imported(self) -> bool:
        """Whether knit did not order it."""
        return self.kind == IMPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks for. `replace`: another one first; None: as usual for the reason.

    `issuer` and `directory` are of the CA that is to be asked, where knit did not order the certificate.
    """

    reason: str
    replace: bool | None = None
    issuer: str | None = None
    directory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is done with the wish. `replace`: another certificate is published first; `renew`: it has to be asked for.

    `disable`: the certificate is taken off work, for nothing may be ordered for it any more; `compromise`: no key that
    it has had is ever published again. `issuer` and `directory` are those of the wish.
    """

    reason: str
    replace: bool
    renew: bool
    disable: bool
    compromise: bool
    issuer: str | None = None
    directory: str | None = None


def course(standing: Standing, wish: Wish, now: datetime) -> Course | None:
    """The course of a revocation; None when the certificate is revoked already.

    Raises Refused for what cannot be revoked, or not so.
    """
    former = standing.former
    if former is not None and former.state is Revoked.REVOKED and not _outweighs(wish, former):
        return None
    if why := _impossible(standing, wish, now):
        raise Refused(f"certificate {standing.cert_id}: {why}")
    ordered = standing.enabled and not standing.imported
    replace = wish.replace if wish.replace is not None else ordered and wish.reason != OVER
    if replace and (why := _irreplaceable(standing)):
        raise Refused(f"certificate {standing.cert_id} {why}")
    under_way = former if former is not None and former.state is Revoked.WANTED else None
    declared = former is not None and former.reason == COMPROMISED
    compromise = wish.reason == COMPROMISED and not declared and not standing.past
    asked = wish if under_way is None else under_way
    return Course(
        # A key that was declared compromised is not less so for another reason that is given later.
        reason=COMPROMISED if under_way is not None and declared else wish.reason,
        replace=replace,
        renew=replace and not standing.imported and (compromise or standing.step != Step.ISSUED),
        disable=standing.enabled and not replace and wish.reason == OVER,
        compromise=compromise,
        issuer=asked.issuer,
        directory=asked.directory,
    )


def _outweighs(wish: Wish, former: Revocation) -> bool:
    return wish.reason == COMPROMISED != former.reason


def _impossible(standing: Standing, wish: Wish, now: datetime) -> str | None:
    ends = standing.not_after
    if standing.serial is None or ends is None:
        return "nothing was ever issued for it"
    named = wish.directory is not None
    reasons = (
        (ends <= now, f"it expired at {ends:%Y-%m-%dT%H:%M:%SZ}, and what has expired need not be revoked"),
        (standing.kind == "selfsigned", SIGNS_ITSELF),
        (standing.imported and not named, NOT_OURS),
        (named and not standing.imported, "its CA is known: --issuer is for imported certificates"),
        (standing.step == Step.PUBLISHING, "another one is being published in its place: ask again in a few seconds"),
        (not standing.published and standing.kind != "ca", NO_COPY),
    )
    return next((why for so, why in reasons if so), None)


def _irreplaceable(standing: Standing) -> str | None:
    if standing.past:
        return "has another one in its place, or is not on the list: --replace is for what is published now"
    if not standing.enabled:
        return "is disabled, so nothing is ordered for it: `knit enable` first, or --no-replace"
    return None if standing.left_out is None else f"is {standing.left_out}"
