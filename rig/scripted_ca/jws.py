"""The strict reading of signed requests (RFC 8555 section 6, RFC 7515, RFC 7517, RFC 7638).

Everything a lenient server forgives is refused here: base64 padding, surplus members, doubled members, an algorithm
that does not fit the key, `jwk` and `kid` together.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from rig.scripted_ca.problems import Kind, Refusal

Json: TypeAlias = dict[str, Any]
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_CURVES: dict[str, tuple[str, ec.EllipticCurve, hashes.HashAlgorithm, int]] = {
    "ES256": ("P-256", ec.SECP256R1(), hashes.SHA256(), 32),
    "ES384": ("P-384", ec.SECP384R1(), hashes.SHA384(), 48),
}
_MAC_ALGORITHMS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
ALGORITHMS = ("RS256", *_CURVES)
_RSA_BITS = range(2048, 4097)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One flattened JWS, read but not yet believed."""

    protected: Json
    signed: bytes
    payload: bytes
    signature: bytes

    @property
    def alg(self) -> str:
        return _text(self.protected, "alg")

    @property
    def url(self) -> str:
        return _text(self.protected, "url")

    @property
    def nonce(self) -> str:
        return _text(self.protected, "nonce")


def b64url(data: bytes) -> str:
    """Give the only accepted spelling: URL alphabet, no padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """Read base64url; raise Refusal for padding, foreign characters and non-canonical tails (RFC 8555 section 6.1)."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Refusal(Kind.MALFORMED, "not base64url") from None
    if b64url(data) != text:
        raise Refusal(Kind.MALFORMED, "base64url must be canonical and without padding")
    return data


def json_object(data: bytes) -> Json:
    """Read a JSON object; raise Refusal for anything else, doubled members included."""
    try:
        value = json.loads(data, object_pairs_hook=_no_doubles)
    except (ValueError, RecursionError):
        raise Refusal(Kind.MALFORMED, "not JSON, or with a doubled member") from None
    if not isinstance(value, dict):
        raise Refusal(Kind.MALFORMED, "not a JSON object")
    return value


def parse(body: bytes) -> Envelope:
    """Read a flattened JWS (RFC 8555 section 6.2); raise Refusal where its form is wrong."""
    return envelope(json_object(body))


def envelope(value: Json) -> Envelope:
    """Read a flattened JWS that is a JSON object already, as an inner one is; raise Refusal where its form is wrong."""
    if set(value) != {"protected", "payload", "signature"}:
        raise Refusal(Kind.MALFORMED, "a JWS has exactly protected, payload and signature")
    protected, payload, signature = (_text(value, name) for name in ("protected", "payload", "signature"))
    header = json_object(unb64url(protected))
    if "crit" in header or header.get("b64", True) is not True:
        raise Refusal(Kind.MALFORMED, "critical header extensions are not understood")
    return Envelope(
        protected=header,
        signed=f"{protected}.{payload}".encode(),
        payload=unb64url(payload),
        signature=unb64url(signature),
    )


def public_key(jwk: object) -> PublicKey:
    """Load a public JWK; raise Refusal for private members, unknown types, points off the curve, odd RSA sizes."""
    if not isinstance(jwk, dict) or "d" in jwk:
        raise Refusal(Kind.BAD_PUBLIC_KEY, "jwk must be a public key")
    if jwk.get("kty") == "EC":
        return _ec_key(jwk)
    if jwk.get("kty") == "RSA":
        return _rsa_key(jwk)
    raise Refusal(Kind.BAD_PUBLIC_KEY, "key type must be EC or RSA")


def thumbprint(jwk: Json) -> str:
    """Give the RFC 7638 SHA-256 thumbprint of a JWK that `public_key` has accepted."""
    members = ("crv", "kty", "x", "y") if jwk["kty"] == "EC" else ("e", "kty", "n")
    canonical = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return b64url(hashlib.sha256(canonical.encode()).digest())


def verify(read: Envelope, key: PublicKey) -> None:
    """Check the signature; raise Refusal when it, or the algorithm for this key, is wrong."""
    if read.alg not in ALGORITHMS:
        raise Refusal(Kind.BAD_SIGNATURE_ALGORITHM, "algorithm not offered", extra={"algorithms": list(ALGORITHMS)})
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _fits(alg_fits=read.alg == "RS256")
            key.verify(read.signature, read.signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            _verify_ec(read, key)
    except InvalidSignature:
        raise Refusal(Kind.MALFORMED, "JWS signature is wrong") from None


def verify_mac(read: Envelope, mac_key: bytes) -> None:
    """Check the MAC of an external account binding (RFC 8555 section 7.3.4); raise Refusal when it is wrong."""
    digest = _MAC_ALGORITHMS.get(read.alg)
    if digest is None:
        raise Refusal(Kind.BAD_SIGNATURE_ALGORITHM, "a binding needs a MAC", extra={"algorithms": [*_MAC_ALGORITHMS]})
    if not hmac.compare_digest(hmac.digest(mac_key, read.signed, digest), read.signature):
        raise Refusal(Kind.UNAUTHORIZED, "the external account binding does not verify")


def _verify_ec(read: Envelope, key: ec.EllipticCurvePublicKey) -> None:
    curve = _CURVES.get(read.alg)
    _fits(alg_fits=curve is not None and curve[1].name == key.curve.name)
    assert curve is not None
    _, _, digest, size = curve
    if len(read.signature) != 2 * size:
        raise Refusal(Kind.MALFORMED, "an ECDSA JWS signature is r and s side by side")
    r, s = (int.from_bytes(part) for part in (read.signature[:size], read.signature[size:]))
    key.verify(encode_dss_signature(r, s), read.signed, ec.ECDSA(digest))


def _fits(*, alg_fits: bool) -> None:
    if not alg_fits:
        raise Refusal(
            Kind.BAD_SIGNATURE_ALGORITHM, "algorithm does not fit the key", extra={"algorithms": [*ALGORITHMS]}
        )


def _ec_key(jwk: Json) -> PublicKey:
    for name, curve, _, size in _CURVES.values():
        if jwk.get("crv") == name:
            x, y = (unb64url(_text(jwk, part)) for part in ("x", "y"))
            if len(x) != size or len(y) != size:
                raise Refusal(Kind.BAD_PUBLIC_KEY, "coordinates have a fixed length")
            return _on_curve(ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve))
    raise Refusal(Kind.BAD_PUBLIC_KEY, "curve must be P-256 or P-384")


def _on_curve(numbers: ec.EllipticCurvePublicNumbers) -> PublicKey:
    try:
        return numbers.public_key()
    except ValueError:
        raise Refusal(Kind.BAD_PUBLIC_KEY, "the point is not on the curve") from None


def _rsa_key(jwk: Json) -> PublicKey:
    n, e = (int.from_bytes(unb64url(_text(jwk, part))) for part in ("n", "e"))
    if n.bit_length() not in _RSA_BITS:
        raise Refusal(Kind.BAD_PUBLIC_KEY, "RSA keys have 2048 to 4096 bits")
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise Refusal(Kind.BAD_PUBLIC_KEY, "not an RSA key") from None


def _text(value: Json, name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise Refusal(Kind.MALFORMED, f"{name} must be a string")
    return text


def _no_doubles(pairs: list[tuple[str, Any]]) -> Json:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError
    return value
