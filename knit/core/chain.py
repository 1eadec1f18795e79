"""What a CA sends as a chain, put into the one form that is published (RFC 8555 section 9.1).

Servers read PEM in ways of their own: what one of them takes, another refuses. So nothing of a CA's bytes is passed
on but the certificates themselves.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from knit.errors import BundleMismatch

BLOCK: Final = re.compile(rb"-----BEGIN ((?:X509 )?CERTIFICATE)-----(.*?)-----END \1-----", re.DOTALL)
PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
MOST_SENT: Final = 30
LARGEST_RSA_BITS: Final = 8192


class NoCertificates(BundleMismatch):
    """What was sent as a chain is something else: a page, or nothing."""


def canonical(sent: bytes, csr_der: bytes) -> bytes:
    """The leaf of this request's key, then each one's issuer as far as sent: PEM with LF line ends and nothing else.

    Line ends, text around the blocks, their order, and certificates that lead nowhere are the CA's business. Raises
    BundleMismatch when nothing that was sent is a certificate, or a private key was sent.
    """
    if PRIVATE_KEY.search(sent):
        message = "the CA sent a private key beside the certificate"
        raise BundleMismatch(message)
    return ordered(sent, fingerprint(x509.load_der_x509_csr(csr_der).public_key()))


def ordered(held: bytes, spki_sha256: str) -> bytes:
    """The chain of the leaf of the key with this hash, whatever else is held. Raises BundleMismatch."""
    path = _path(_certificates(held), spki_sha256)
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in path)


def fingerprint(key: PublicKeyTypes) -> str:
    """The lower-case hex SHA-256 of a public key (SubjectPublicKeyInfo)."""
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(encoded).hexdigest()


@lru_cache(maxsize=256)
def issued_by(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names match and the signature holds. One of a scheme newer than our library is left to clients."""
    try:
        key = issuer.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size > LARGEST_RSA_BITS:
            return False
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    except UnsupportedAlgorithm:
        return issued.issuer == issuer.subject
    return True


def _certificates(sent: bytes) -> list[x509.Certificate]:
    blocks = [body for _, body in BLOCK.findall(sent)]
    if len(blocks) > MOST_SENT:
        message = f"more than {MOST_SENT} certificates were sent"
        raise BundleMismatch(message)
    try:
        found = [x509.load_der_x509_certificate(b64decode(b"".join(body.split()), validate=True)) for body in blocks]
    except (NotBase64, ValueError, x509.InvalidVersion):
        found = []
    if not found:
        message = "what the CA sent does not parse as PEM certificates"
        raise NoCertificates(message)
    return found


def _path(found: Sequence[x509.Certificate], spki_sha256: str) -> list[x509.Certificate]:
    rest = list(dict.fromkeys(found))
    leaf = next((certificate for certificate in rest if _is_for(certificate, spki_sha256)), rest[0])
    path = []
    issuer: x509.Certificate | None = leaf
    while issuer is not None:
        path.append(issuer)
        rest.remove(issuer)
        issuer = next((candidate for candidate in rest if issued_by(path[-1], candidate)), None)
    return path


def _is_for(certificate: x509.Certificate, spki_sha256: str) -> bool:
    try:
        return fingerprint(certificate.public_key()) == spki_sha256
    except (ValueError, UnsupportedAlgorithm):
        return False
