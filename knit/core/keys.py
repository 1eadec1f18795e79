"""Kinds of private keys: how each is made and recognised, and which hash it signs with. One table for each question."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from knit.core.model.keys import KeyType

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
SigningHash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

CURVES: Final[dict[KeyType, type[ec.EllipticCurve]]] = {KeyType.EC256: ec.SECP256R1, KeyType.EC384: ec.SECP384R1}
RSA_BITS: Final = {KeyType.RSA2048: 2048, KeyType.RSA3072: 3072, KeyType.RSA4096: 4096}
HASHES: Final[dict[str, SigningHash]] = {"secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
"""By the curve's name, where it is not SHA-256. A CA may bring a key of a kind that is never made here."""


def new_key(key_type: KeyType) -> PrivateKey:
    """A fresh key of this kind."""
    if key_type in CURVES:
        return ec.generate_private_key(CURVES[key_type]())
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS[key_type])


def type_of(key: PrivateKey) -> KeyType | None:
    """Which kind a key is of; None for one of a kind that is never asked for."""
    if isinstance(key, rsa.RSAPrivateKey):
        return next((kind for kind, bits in RSA_BITS.items() if bits == key.key_size), None)
    return next((kind for kind, curve in CURVES.items() if isinstance(key.curve, curve)), None)


def signing_hash(key: PrivateKey) -> SigningHash:
    """The hash that a CA with this key signs over: as strong as the key, or nearly."""
    name = key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else ""
    return HASHES.get(name, hashes.SHA256())
