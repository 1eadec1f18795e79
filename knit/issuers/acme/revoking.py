"""Revocation (RFC 8555 section 7.6)."""

from __future__ import annotations

import json
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from knit.core.model.certificate import Bundle
from knit.errors import KnitError, Refused
from knit.issuers.acme.network import Network
from knit.issuers.acme.problems import ACCOUNT, Problem, ProblemReply, error_of
from knit.issuers.acme.signing import Signer, b64
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


def revoke(network: Network, directory: Directory, leaf: bytes, reason: str) -> None:
    """Revoke, signed with what `network` signs with. A certificate that is revoked already is done.

    `leaf` is DER. Raises ProblemReply, Unreachable; Refused where the CA revokes nothing over ACME.
    """
    if directory.revoke_cert is None:
        raise Refused(f"the CA at {directory.hosts} offers no revocation (its directory names no revokeCert)")
    payload = json.dumps({"certificate": b64(leaf), "reason": REASONS[reason]}).encode()
    try:
        network.post(directory.revoke_cert, payload)
    except ProblemReply as refused:
        if refused.problem.code != DONE:
            raise


def revoke_by_key(network: Network, directory: Directory, bundle: Bundle, reason: str) -> None:
    """Revoke with the key of the certificate itself, which needs no account. Raises KnitError."""
    try:
        signer = Signer(bundle.privkey.decode())
    except KnitError:
        raise Refused("the certificate's key is missing, or none that ACME requests are signed with") from None
    network.sign_as(signer, None, directory.new_nonce)
    try:
        revoke(network, directory, der_of(bundle), reason)
    except ProblemReply as refused:
        raise error_about_key(refused.problem) from None


def error_about_key(problem: Problem) -> KnitError:
    """What a refusal of the certificate's own key means: no word about our account, which did not sign."""
    error = error_of(problem)
    return Refused(f"asked by the certificate's key, {error}") if problem.code in ACCOUNT else error


def der_of(bundle: Bundle) -> bytes:
    """The leaf. Raises Refused."""
    try:
        return x509.load_pem_x509_certificate(bundle.fullchain).public_bytes(Encoding.DER)
    except ValueError:
        raise Refused("what is to be revoked is no certificate in PEM") from None
