"""The strict reading of signed requests."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from rig.scripted_ca import jws
from rig.scripted_ca.problems import Refusal

P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)


def ec_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    numbers, size = key.public_key().public_numbers(), key.key_size // 8
    x, y = (jws.b64url(number.to_bytes(size)) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": f"P-{key.key_size}", "x": x, "y": y}


def rsa_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    n = key.public_key().public_numbers().n
    return {"kty": "RSA", "n": jws.b64url(n.to_bytes(key.key_size // 8)), "e": "AQAB"}


def raw(key: ec.EllipticCurvePrivateKey, signed: bytes, digest: hashes.HashAlgorithm) -> bytes:
    size = key.key_size // 8
    return b"".join(part.to_bytes(size) for part in decode_dss_signature(key.sign(signed, ec.ECDSA(digest))))


def body(alg: str, sign: Any) -> bytes:
    protected = jws.b64url(json.dumps({"alg": alg, "nonce": "n", "url": "u"}).encode())
    signature = sign(f"{protected}.".encode())
    return json.dumps({"protected": protected, "payload": "", "signature": jws.b64url(signature)}).encode()


SIGNED = {
    "ES256": (body("ES256", lambda text: raw(P256, text, hashes.SHA256())), ec_jwk(P256)),
    "ES384": (body("ES384", lambda text: raw(P384, text, hashes.SHA384())), ec_jwk(P384)),
    "RS256": (body("RS256", lambda text: RSA.sign(text, padding.PKCS1v15(), hashes.SHA256())), rsa_jwk(RSA)),
}


@pytest.mark.parametrize("alg", SIGNED)
def test_each_offered_algorithm_verifies_with_its_own_key_and_no_other(alg: str) -> None:
    read = jws.parse(SIGNED[alg][0])

    jws.verify(read, jws.public_key(SIGNED[alg][1]))
    for other in set(SIGNED) - {alg}:
        with pytest.raises(Refusal, match="badSignatureAlgorithm"):
            jws.verify(read, jws.public_key(SIGNED[other][1]))


def test_an_ecdsa_signature_in_der_is_refused() -> None:
    read = jws.parse(body("ES256", lambda text: P256.sign(text, ec.ECDSA(hashes.SHA256()))))

    with pytest.raises(Refusal, match="side by side"):
        jws.verify(read, jws.public_key(ec_jwk(P256)))


def test_a_signature_by_another_key_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())

    with pytest.raises(Refusal, match="signature is wrong"):
        jws.verify(jws.parse(SIGNED["ES256"][0]), jws.public_key(ec_jwk(other)))


@pytest.mark.parametrize("text", ["YQ==", "YQ=", "YR", "Y Q", "Y+/Q", "Y", "ÄÖ", "YQ\n"])
def test_only_canonical_base64url_without_padding_is_read(text: str) -> None:
    with pytest.raises(Refusal, match="base64url"):
        jws.unb64url(text)


@pytest.mark.parametrize("data", [b"\x00" * 5, b"\xff" * 4, b""])
def test_base64url_comes_back_as_it_was(data: bytes) -> None:
    assert jws.unb64url(jws.b64url(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"a":1,"a":2}',
        b'{"protected":"e30","payload":""}',
        b'{"protected":"e30","payload":"","signature":"","header":{}}',
        b'{"protected":1,"payload":"","signature":""}',
        b'{"protected":"eyJjcml0IjpbXX0","payload":"","signature":""}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_one_flattened_jws_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal, match="malformed"):
        jws.parse(text)


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        {"kty": "oct", "k": "AA"},
        ec_jwk(P256) | {"d": "AA"},
        ec_jwk(P256) | {"crv": "P-521"},
        ec_jwk(P256) | {"x": "AA"},
        ec_jwk(P256) | {"x": jws.b64url(b"\x01" * 32)},
        rsa_jwk(RSA) | {"n": jws.b64url(b"\xff" * 128)},
    ],
)
def test_keys_that_are_private_odd_or_weak_are_refused(jwk: object) -> None:
    with pytest.raises(Refusal, match="badPublicKey"):
        jws.public_key(jwk)


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    # RFC 7638 section 3.1.
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
        "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
        "nqDKgw"
    )
    jwk = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}

    assert jws.thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
