"""Pairs for nodes to install, and the values that publish them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.x509.oid import NameOID

from knit.core.model.certificate import Bundle, CertId
from knit.core.value import Mark, Value

NOW = datetime.now(UTC).replace(microsecond=0)


@cache
def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    return key, _sign(key, name, key, name, (NOW - timedelta(days=1000), NOW + timedelta(days=1000)), [])


_Edwards = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa_keys.RSAPrivateKey | _Edwards


def _sign(
    key: PrivateKey,
    subject: x509.Name,
    issuer_key: PrivateKey,
    issuer: x509.Name,
    dates: tuple[datetime, datetime],
    names: list[str],
    *,
    authority: bool = False,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=dates[0],
        not_valid_after=dates[1],
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(issuer_key, None if isinstance(issuer_key, _Edwards) else hashes.SHA256())


def pair(
    *names: str,
    age: float = 1,
    days: float = 90,
    self_issued: bool = False,
    common: str | None = "leaf",
    rsa: bool = False,
    key: PrivateKey | None = None,
) -> Bundle:
    """A new pair, issued `age` days ago for `days` days."""
    if key is None:
        key = rsa_keys.generate_private_key(65537, 2048) if rsa else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([] if common is None else [x509.NameAttribute(NameOID.COMMON_NAME, common)])
    dates = (NOW - timedelta(days=age), NOW - timedelta(days=age) + timedelta(days=days))
    wanted = list(names or ("www.test",))
    if self_issued:
        chain = [_sign(key, subject, key, subject, dates, wanted)]
    else:
        authority_key, authority = _authority()
        chain = [_sign(key, subject, authority_key, authority.subject, dates, wanted), authority]
    return _bundle(key, chain)


def _bundle(key: PrivateKey, chain: list[x509.Certificate]) -> Bundle:
    return Bundle(
        fullchain=b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain),
        privkey=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def authority() -> Bundle:
    """An authority's certificate, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody's authority")])
    dates = (NOW - timedelta(days=10), NOW + timedelta(days=1000))
    return _bundle(key, [_sign(key, name, key, name, dates, [], authority=True)])


def value(bundle: Bundle, folder: object, name: str = "www", *, generation: int | None = 1, cert_id: int = 1) -> bytes:
    """The published value; without a generation as the Go knit writes it."""
    whole = Value.of(
        bundle,
        not_after=NOW + timedelta(days=60),
        cert_path=f"{folder}/{name}.pem",
        key_path=f"{folder}/{name}.key",
        mark=Mark(cert_id=CertId(cert_id), generation=generation or 0, issued_at=NOW),
    )
    if generation is not None:
        return whole.to_wire()
    members = json.loads(whole.to_wire())
    del members["knit"]
    return json.dumps(members, separators=(",", ":")).encode()
