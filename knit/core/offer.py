"""What an issuer offers, beside what is asked of it: what `knit issuers test` tells. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from knit.core.findings import Finding, Verdict
from knit.core.model.issuer import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class CaOffer:
    """What a CA that speaks ACME says of itself, and of our account there.

    `account` is its URL, None before it is registered; `status` what the CA says of it, and `objection` why it does not
    let it order. `bound`: what binds an account is given here.
    """

    terms_of_service: str | None
    wants_binding: bool
    bound: bool
    profiles: tuple[str, ...]
    renewal_info: bool
    account: str | None
    status: str | None = None
    objection: str | None = None


def judge(offer: CaOffer, terms: Terms) -> Iterator[Finding]:
    """One finding for each question; no order would go through if any is FAILED."""
    yield _ok("directory", f"reached: {terms.directory}")
    yield _ok("terms of service", offer.terms_of_service or "the CA names none")
    yield _account(offer)
    yield _profiles(offer, terms)
    ari = "renewal times are suggested (ARI)" if offer.renewal_info else "no renewal times are suggested (ARI)"
    yield _ok("renewal", ari)


def _account(offer: CaOffer) -> Finding:
    if offer.objection is not None:
        return _failed("account", f"{offer.account}: {offer.objection}")
    if offer.account is not None:
        return _ok("account", f"{offer.account}: {offer.status or 'known to the CA'}")
    if offer.wants_binding and not offer.bound:
        said = "not registered yet, and the CA registers only what is bound to an account it knows: a binding is needed"
        return _failed("account", said)
    return _ok("account", f"registered by the first order{', bound as configured' if offer.bound else ''}")


def _profiles(offer: CaOffer, terms: Terms) -> Finding:
    offered = f"offered: {', '.join(offer.profiles)}" if offer.profiles else "none is offered"
    if terms.profile is not None and terms.profile not in offer.profiles:
        return _failed("profiles", f"profile {terms.profile!r} is configured; {offered}")
    return _ok("profiles", offered)


def _ok(subject: str, text: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.OK, text=text)


def _failed(subject: str, text: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.FAILED, text=text)
