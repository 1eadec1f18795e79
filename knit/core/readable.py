"""What a pair says of itself, and whether a server can read it.

The rules are what nginx and HAProxy do with OpenSSL 3 as Debian ships it: a test asks them. What they refuse, and what
makes them drop a part of the chain without a word, is refused here. A server that cannot read its certificate does not
start, and takes all its other names down.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

MAX_CERTIFICATES = 16
KEY_BYTES = 16 * 1024
"""An RSA key of 16,384 bits, the largest that OpenSSL takes, has 12,700."""

RSA_BITS = range(2047, 16384 + 1)
EC_BITS = 224

_BODY = rb"[ \t]*\r?\n(?:[A-Za-z0-9+/=]+[ \t]*\r?\n)+"
# OpenSSL sees a block only where a line begins with it.
_BLOCK = rb"(?:[ \t]*\r?\n)*-----BEGIN %(label)s-----" + _BODY + rb"-----END %(label)s-----[ \t]*(?:\r?\n|\Z)"
_CERTIFICATE = re.compile(_BLOCK % {b"label": rb"CERTIFICATE"})
_KEYS = tuple(
    re.compile(_BLOCK % {b"label": label} + rb"[ \t\r\n]*")
    for label in (rb"PRIVATE KEY", rb"EC PRIVATE KEY", rb"RSA PRIVATE KEY")
)
_BLANK = re.compile(rb"[ \t\r\n]*")
_TRIED = b"a text to sign"
_WEAK = (hashes.MD5, hashes.SHA1)


def inspect(fullchain: bytes, privkey: bytes) -> dict[str, object]:
    """The facts of a pair. Raises ValueError saying why it is not a pair; the text holds nothing of the key."""
    chain = _certificates(fullchain)
    leaf = chain[0]
    _check_key(leaf, privkey)
    for number, certificate in enumerate(chain):
        _check_strength(certificate, "the certificate" if number == 0 else f"certificate {number + 1} in fullchain")
    names = _names(leaf)
    return {
        "names": sorted(names),
        "primary": _primary(leaf, names),
        "not_before": leaf.not_valid_before_utc.isoformat(),
        "not_after": leaf.not_valid_after_utc.isoformat(),
        "self_issued": leaf.issuer == leaf.subject and len(chain) == 1,
        "serial": f"{leaf.serial_number:x}",
        "fingerprint": leaf.fingerprint(hashes.SHA256()).hex(),
        "key_kind": _kind(leaf.public_key()),
    }


def _kind(key: object) -> str | None:
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa"
    return "ec" if isinstance(key, ec.EllipticCurvePublicKey) else None


def _certificates(fullchain: bytes) -> list[x509.Certificate]:
    blocks = _blocks(fullchain)
    if not blocks:
        raise ValueError("fullchain is empty")
    if len(blocks) > MAX_CERTIFICATES:
        raise ValueError(f"fullchain holds more than {MAX_CERTIFICATES} certificates")
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a certificate in fullchain cannot be parsed") from None


def _blocks(fullchain: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    position = 0
    while block := _CERTIFICATE.match(fullchain, position):
        blocks.append(block.group())
        position = block.end()
    if not _BLANK.fullmatch(fullchain, position):
        line = fullchain.count(b"\n", 0, position) + 1
        raise ValueError(
            f"fullchain holds something else than PEM certificates, each on lines of its own (line {line})"
        )
    return blocks


def _check_key(leaf: x509.Certificate, privkey: bytes) -> None:
    if len(privkey) > KEY_BYTES:
        raise ValueError(f"privkey has more than {KEY_BYTES} bytes, more than the largest key that servers take")
    if not any(pattern.fullmatch(privkey) for pattern in _KEYS):
        raise ValueError("privkey holds something else than one PEM private key on lines of its own")
    try:
        # Its factors are not tested for being prime, which takes seconds. That it signs is what counts.
        key = serialization.load_pem_private_key(privkey, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("privkey cannot be parsed") from None
    try:
        matches = key.public_key() == leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the certificate's key cannot be parsed") from None
    if not matches:
        raise ValueError("privkey is not the key of the certificate")
    _check_size(leaf.public_key(), "the certificate")
    try:
        _sign(key)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        raise ValueError("privkey does not sign for the certificate") from None


def _sign(key: object) -> None:
    """Sign something, and look whether the public half agrees."""
    digest = hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        scheme = padding.PKCS1v15()
        key.public_key().verify(key.sign(_TRIED, scheme, digest), _TRIED, scheme, digest)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        key.public_key().verify(key.sign(_TRIED, ec.ECDSA(digest)), _TRIED, ec.ECDSA(digest))
    elif isinstance(key, dsa.DSAPrivateKey):
        key.public_key().verify(key.sign(_TRIED, digest), _TRIED, digest)
    elif isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        key.public_key().verify(key.sign(_TRIED), _TRIED)
    else:
        raise InvalidSignature


def _check_strength(certificate: x509.Certificate, which: str) -> None:
    # Nobody relies on what a root says of itself.
    if certificate.issuer != certificate.subject and isinstance(certificate.signature_hash_algorithm, _WEAK):
        name = certificate.signature_hash_algorithm.name.upper()
        raise ValueError(f"{which} is signed with {name}, which servers refuse")
    try:
        _check_size(certificate.public_key(), which)
    except UnsupportedAlgorithm:
        return


def _check_size(key: object, which: str) -> None:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size not in RSA_BITS:
        raise ValueError(f"{which} has an RSA key of {key.key_size} bits, which servers refuse")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < EC_BITS:
        raise ValueError(f"{which} has an EC key of {key.key_size} bits, which servers refuse")


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _primary(leaf: x509.Certificate, names: list[str]) -> str | None:
    """The common name, which CAs take from the first name that was asked for; without one the first name."""
    try:
        common = [str(one.value).lower() for one in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    except ValueError:
        common = []
    return next((name for name in (*common, *names) if name in names), None)
