"""Revocation (RFC 8555 section 7.6)."""

from __future__ import annotations

import json
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from knit.core.model.account import Account
from knit.core.model.certificate import Bundle
from knit.errors import KnitError, Refused
from knit.issuers.acme.jws import Signer, b64
from knit.issuers.acme.network import Network
from knit.issuers.acme.problems import About, Problem, ProblemReply, error_of
from knit.issuers.acme.upkeep import standing
from knit.issuers.acme.wire import Directory

DONE: Final = "alreadyRevoked"
REASONS: Final = {
    "unspecified": 0,
    "keyCompromise": 1,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
}
"""The words of contract and command line, as RFC 5280 section 5.3.1 numbers them: those that subscribers may give."""


def by_account(
    network: Network, directory: Directory, account: Account | None, bundle: Bundle, reason: str
) -> str | None:
    """Revoke as this account. None when it is done; else why not, and the certificate's own key may be able to.

    A certificate that is revoked already is done. Raises Unreachable, IssuerDown, AccountLimited; Refused in the CA's
    words where the account may ask for things and not for this, and where the CA revokes nothing over ACME.
    """
    url, wish = _url(directory), _wish(bundle, reason)
    signer = None if account is None or account.uri is None else _signer(account.private_key)
    if account is None or signer is None:
        return "there is no account here to ask it with"
    network.sign_as(signer, account.uri, directory.new_nonce)
    problem = _refusal(network, url, wish)
    if problem is None:
        return None
    error = error_of(problem)
    # CAs have various words for a signature that is not the account's.
    if problem.about is About.ACCOUNT or (
        isinstance(error, Refused) and standing(network, directory, account).objection is not None
    ):
        return f"asked by the account, the CA says: {problem}"
    raise error


def by_key(network: Network, directory: Directory, bundle: Bundle, reason: str, why: str) -> None:
    """Revoke with the key of the certificate itself. `why` says why not otherwise. Raises as `by_account` does."""
    signer = _signer(bundle.privkey.decode(errors="replace"))
    if signer is None:
        lacking = "the certificate's key is missing, or none that ACME requests are signed with"
        raise Refused(f"{why}; {lacking}")
    network.sign_as(signer, None, directory.new_nonce)
    problem = _refusal(network, _url(directory), _wish(bundle, reason))
    if problem is not None:
        raise _error_about_key(problem)


def _url(directory: Directory) -> str:
    if directory.revoke_cert is None:
        raise Refused(f"the CA at {directory.hosts} offers no revocation (its directory names no revokeCert)")
    return directory.revoke_cert


def _wish(bundle: Bundle, reason: str) -> bytes:
    if reason not in REASONS:
        raise Refused(f"reason {reason!r}: must be one of {', '.join(REASONS)}")
    return json.dumps({"certificate": b64(_der_of(bundle)), "reason": REASONS[reason]}).encode()


def _refusal(network: Network, url: str, wish: bytes) -> Problem | None:
    try:
        network.post(url, wish)
    except ProblemReply as refused:
        return None if refused.problem.code == DONE else refused.problem
    return None


def _signer(pem: str) -> Signer | None:
    try:
        return Signer(pem)
    except KnitError:
        return None


def _error_about_key(problem: Problem) -> KnitError:
    """What a refusal of the certificate's own key means: no word about our account, which did not sign."""
    error = error_of(problem)
    return Refused(f"asked by the certificate's key, {error}") if problem.about is About.ACCOUNT else error


def _der_of(bundle: Bundle) -> bytes:
    """The leaf. Raises Refused."""
    try:
        return x509.load_pem_x509_certificate(bundle.fullchain).public_bytes(Encoding.DER)
    except ValueError:
        raise Refused("what is to be revoked is no certificate in PEM") from None
