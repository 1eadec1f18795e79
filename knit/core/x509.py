"""Keys, certificate requests, and the facts and checks of what a CA issued. Bytes in, values out."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from knit.core.chain import LARGEST_RSA_BITS, fingerprint, issued_by
from knit.core.keys import PrivateKey, new_key, type_of
from knit.core.model.certificate import Bundle, Leaf
from knit.core.model.keys import KeyType
from knit.errors import BundleMismatch

MOST_CERTIFICATES: Final = 10
LARGEST_CHAIN: Final = 192 * 1024
"""Bytes of a chain. What is published has room for little more."""
CLOCK_TOLERANCE: Final = timedelta(hours=1)
LEAST: Final = timedelta(days=1)
"""A leaf is not called over sooner than this because its issuer is: each renewal has to give something, also from a CA
that goes on with an issuer that ends."""
BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class CertKey:
    """A certificate's private key, read once: to read an RSA key again takes longer than all else about it.

    `pem` is unencrypted; `spki_sha256` is the lower-case hex SHA-256 of its public half (SubjectPublicKeyInfo).
    """

    pem: bytes = field(repr=False)
    spki_sha256: str
    _private: PrivateKey = field(repr=False)

    @classmethod
    def new(cls, key_type: KeyType) -> CertKey:
        """A fresh one. Its PEM has the traditional form, which is what the original knit published."""
        key = new_key(key_type)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        return cls(pem, fingerprint(key.public_key()), key)

    @classmethod
    def of(cls, pem: bytes) -> CertKey:
        """Raises BundleMismatch for a key that cannot be used."""
        key = _private(pem)
        return cls(pem, fingerprint(key.public_key()), key)

    @property
    def key_type(self) -> KeyType | None:
        """The key's type; None for one of a kind that is never asked for."""
        return type_of(self._private)

    def csr(self, names: Sequence[str]) -> bytes:
        """A certificate request (DER) for these DNS names; its subject is empty, for CAs read the SAN alone."""
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(alternative, critical=False)
        return request.sign(self._private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def leaf(fullchain: bytes) -> Leaf:
    """The facts of the first certificate, which ends with its issuer's. Raises BundleMismatch."""
    chain = _certificates(fullchain)
    return _served(_leaf(chain[0]), chain)


def ends(fullchain: bytes) -> datetime:
    """When the first certificate, or its issuer's beside it, is over. Raises BundleMismatch."""
    return _ends(_certificates(fullchain))


def certificate_sha256(fullchain: bytes) -> str:
    """The fingerprint of the first certificate: the SHA-256 of its DER bytes. Raises BundleMismatch."""
    return _certificates(fullchain)[0].fingerprint(hashes.SHA256()).hex()


def check(
    bundle: Bundle, names: Sequence[str], now: datetime, key: CertKey | None = None, *, roots: bytes | None = b""
) -> Leaf:
    """Raise BundleMismatch, with the reason, unless this is exactly what was ordered and can be served now.

    The key (`key`, where it has been read already) is the leaf's, the SAN set is the wanted set and nothing else, the
    dates are sound, the leaf is no CA, each certificate is issued by the next, the first of those is valid, and nothing
    but certificates is in the chain. A leaf may come alone when one of `roots` (PEM) has issued it, or they are None.
    """
    chain = _certificates(bundle.fullchain)
    facts = _leaf(chain[0])
    _check_key(chain[0], facts, key or CertKey.of(bundle.privkey))
    _check_names(facts, frozenset(names))
    _check_dates(facts, now)
    if _is_ca(chain[0]):
        message = "the issued certificate is a CA certificate"
        raise BundleMismatch(message)
    _check_chain(chain, roots)
    _check_issuer(chain, now)
    return _served(facts, chain)


def ari_id(certificate: x509.Certificate) -> str | None:
    """The certificate's name in ACME renewal information (RFC 9773 section 4.1); None without a key identifier."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if found is None:
        return None
    number = certificate.serial_number
    # The DER integer, whose first bit is the sign: a leading zero byte where the number would look negative.
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    return f"{_b64(found)}.{_b64(serial)}"


@lru_cache(maxsize=64)
def _certificate(block: bytes) -> x509.Certificate:
    """Remembered for the sake of the issuers' certificates: a CA has few of them."""
    return x509.load_pem_x509_certificate(block)


def _certificates(fullchain: bytes) -> list[x509.Certificate]:
    if len(fullchain) > LARGEST_CHAIN:
        message = f"the chain has {len(fullchain)} bytes, more than {LARGEST_CHAIN}"
        raise BundleMismatch(message)
    if BLOCK.sub(b"", fullchain).strip():
        message = "the chain holds something besides certificates"
        raise BundleMismatch(message)
    if fullchain.count(b"-----BEGIN") > MOST_CERTIFICATES:
        message = f"the chain holds more than {MOST_CERTIFICATES} certificates"
        raise BundleMismatch(message)
    try:
        found = [_certificate(block) for block in BLOCK.findall(fullchain)]
    except (ValueError, x509.InvalidVersion):
        found = []
    if not found:
        message = "the chain does not parse as PEM certificates"
        raise BundleMismatch(message)
    return found


def _leaf(certificate: x509.Certificate) -> Leaf:
    try:
        return Leaf(
            names=_names(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            serial=f"{certificate.serial_number:x}",
            ari_id=ari_id(certificate),
            spki_sha256=fingerprint(certificate.public_key()),
        )
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        message = "the issued certificate cannot be read"
        raise BundleMismatch(message) from error


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    # A name of another kind (an address, a mailbox) stays visible, so that it never passes for the wanted set.
    return frozenset(
        name.value.lower() if isinstance(name, x509.DNSName) else f"{type(name).__name__}:{name.value}"
        for name in found
    )


def _private(privkey: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(privkey, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        message = "the private key cannot be read"
        raise BundleMismatch(message) from None
    if isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        return key
    message = "the private key is neither EC nor RSA"
    raise BundleMismatch(message)


def _check_key(certificate: x509.Certificate, facts: Leaf, key: CertKey) -> None:
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey) and public.key_size > LARGEST_RSA_BITS:
        message = f"the issued certificate has an RSA key of {public.key_size} bits"
        raise BundleMismatch(message)
    if facts.spki_sha256 != key.spki_sha256:
        message = "the issued certificate is for another key"
        raise BundleMismatch(message)


def _check_names(facts: Leaf, wanted: frozenset[str]) -> None:
    if facts.names == wanted:
        return
    missing, extra = sorted(wanted - facts.names), sorted(facts.names - wanted)
    parts = [
        f"{word} {', '.join(found)[:500]!r}" for word, found in (("without", missing), ("also for", extra)) if found
    ]
    message = f"the issued certificate is {' and '.join(parts)}"
    raise BundleMismatch(message)


def _check_dates(facts: Leaf, now: datetime) -> None:
    span = f"valid from {facts.not_before:%Y-%m-%dT%H:%M:%SZ} to {facts.not_after:%Y-%m-%dT%H:%M:%SZ}"
    if not facts.not_before < facts.not_after or facts.not_after <= now:
        message = f"the issued certificate is {span}: already over"
        raise BundleMismatch(message)
    if facts.not_before > now + CLOCK_TOLERANCE:
        message = f"the issued certificate is {span}: not yet begun"
        raise BundleMismatch(message)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    except (ValueError, x509.DuplicateExtension) as error:
        message = "a certificate of the chain cannot be read"
        raise BundleMismatch(message) from error


def _check_chain(chain: Sequence[x509.Certificate], roots: bytes | None) -> None:
    if len(chain) == 1 and roots is not None and not _is_rooted(chain[0], roots):
        message = (
            f"the CA sent the certificate without its issuer's ({_issuer(chain[0])}); if that root signs certificates "
            "directly, add it to the issuer's roots (KNIT_ACME_CA_FILE, or ca_file in the file of issuers)"
        )
        raise BundleMismatch(message)
    for place, (issued, issuer) in enumerate(pairwise(chain), start=1):
        _check_link(issued, issuer, place)


def _check_issuer(chain: Sequence[x509.Certificate], now: datetime) -> None:
    """Those further up may be over: who trusts another root finds another way there, but not around this one."""
    for issuer in chain[1:2]:
        begins, ends = issuer.not_valid_before_utc, issuer.not_valid_after_utc
        if not begins <= now + CLOCK_TOLERANCE or ends <= now:
            span = f"from {begins:%Y-%m-%dT%H:%M:%SZ} to {ends:%Y-%m-%dT%H:%M:%SZ}"
            message = f"the certificate of the issuer ({_issuer(chain[0])}) is valid {span}"
            raise BundleMismatch(message)


def _ends(chain: Sequence[x509.Certificate]) -> datetime:
    return min(one.not_valid_after_utc for one in chain[:2])


def _served(facts: Leaf, chain: Sequence[x509.Certificate]) -> Leaf:
    """The leaf for as long as clients take it: there is no way around its own issuer, as there is around others."""
    return replace(facts, not_after=min(facts.not_after, max(_ends(chain), facts.not_before + LEAST)))


def _is_rooted(leaf: x509.Certificate, roots: bytes) -> bool:
    return any(_is_ca(root) and issued_by(leaf, root) for root in map(_certificate, BLOCK.findall(roots)))


def _check_link(issued: x509.Certificate, issuer: x509.Certificate, place: int) -> None:
    if not _is_ca(issuer):
        message = f"certificate {place + 1} of the chain is not a CA certificate"
        raise BundleMismatch(message)
    if not issued_by(issued, issuer):
        message = f"certificate {place} of the chain is not issued by the one after it"
        raise BundleMismatch(message)


def _issuer(certificate: x509.Certificate) -> str:
    return repr(certificate.issuer.rfc4514_string()[:200])


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
