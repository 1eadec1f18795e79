"""The account key at work: JWS of requests (RFC 8555 section 6.2) and key authorizations (section 8.1).

Written out here because the library takes four times as long to sign; it is still what knows the forms of keys.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import josepy
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from knit.errors import AccountUnusable

Sign = Callable[[bytes], bytes]

# Curve name: JWS algorithm, hash, bytes of one half of the signature (RFC 7518 section 3.4).
CURVES: Final = {
    "secp256r1": (josepy.ES256, hashes.SHA256(), 32),
    "secp384r1": (josepy.ES384, hashes.SHA384(), 48),
}


class Signer:
    """One account key. Safe to share between threads."""

    def __init__(self, pem: str) -> None:
        """Raises AccountUnusable, without a word of the key, for a kind of key that ACME accounts do not use."""
        key = _load(pem)
        if isinstance(key, rsa.RSAPrivateKey):
            self.algorithm, self._sign = josepy.RS256, _rsa(key)
            self.key: josepy.JWK = josepy.JWKRSA(key=key)
        elif isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
            self.algorithm, hashing, half = CURVES[key.curve.name]
            self._sign = _ecdsa(key, hashing, half)
            self.key = josepy.JWKEC(key=key)
        else:
            raise _unusable()
        self.public = self.key.public_key()
        self._name, self._jwk = self.algorithm.name, json.dumps(self.public.to_json())
        self._thumbprint = b64(self.public.thumbprint())

    @property
    def thumbprint(self) -> str:
        """Of the public key (RFC 7638), base64url."""
        return self._thumbprint

    def sign(self, url: str, nonce: str | None, payload: bytes, account: str | None) -> bytes:
        """A flattened JWS: by account URL, or by the key itself where there is no account yet.

        One inside of another has no nonce.
        """
        by = f'"jwk":{self._jwk}' if account is None else f'"kid":"{account}"'
        once = "" if nonce is None else f'"nonce":"{nonce}",'
        # Put together as text: URLs and nonces were checked to hold nothing that JSON would escape.
        head = b64(f'{{"alg":"{self._name}",{once}"url":"{url}",{by}}}'.encode())
        body = b64(payload)
        signature = b64(self._sign(f"{head}.{body}".encode()))
        return f'{{"protected":"{head}","payload":"{body}","signature":"{signature}"}}'.encode()

    def key_authorization(self, token: str) -> str:
        """RFC 8555 section 8.1."""
        return f"{token}.{self._thumbprint}"


def txt_value(key_authorization: str) -> str:
    """What the TXT record holds (RFC 8555 section 8.4)."""
    return b64(sha256(key_authorization.encode()).digest())


def new_account_key() -> str:
    """A P-256 key as PEM, in the form lego stores account keys, so that the original can read it."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def account_key_of(data: bytes) -> str:
    """The key as PEM, from PEM, DER or JWK. Raises AccountUnusable, without a word of it, for any other."""
    try:
        key = _of_jwk(data) if data.lstrip().startswith(b"{") else _loaded(data)
        pem: str = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode()
    except (ValueError, TypeError, AttributeError, KeyError, UnsupportedAlgorithm, josepy.Error):
        raise _unusable() from None
    Signer(pem)
    return pem


def _of_jwk(data: bytes) -> Any:
    found: Any = josepy.JWK.from_json(json.loads(data))
    return found.key


def _loaded(data: bytes) -> Any:
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    return load(data, None)


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _load(pem: str) -> object:
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable() from None


def _unusable() -> AccountUnusable:
    return AccountUnusable("the ACME account key is no unencrypted key of P-256, P-384 or RSA")


def _ecdsa(key: ec.EllipticCurvePrivateKey, hashing: hashes.HashAlgorithm, half: int) -> Sign:
    scheme = ec.ECDSA(hashing)

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, scheme))
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    return sign


def _rsa(key: rsa.RSAPrivateKey) -> Sign:
    def sign(data: bytes) -> bytes:
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    return sign
