"""The CA's own keys and certificates: two roots that sign one intermediate, and a stranger's intermediate.

Two roots give every certificate an alternate chain, as public CAs have during a change of roots. The first has signed
the second one, too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

_LIFE = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key with the certificate that names it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Who signs leaves, and the certificates that lead from there to each root."""

    roots: tuple[Signer, Signer]
    intermediate: Signer
    alternate_pem: bytes
    cross_pem: bytes
    over_pem: bytes
    ending_pem: bytes
    """The intermediate as it is when ten days of it are left."""
    stranger: Signer

    @classmethod
    def fresh(cls) -> "Hierarchy":
        first, second, foreign = (_root(f"Scripted Root {mark}") for mark in ("X1", "X2", "Stranger"))
        intermediate = _intermediate("Scripted Intermediate E1", first)
        alternate = _sign(_subject("Scripted Intermediate E1"), intermediate.key.public_key(), second, path=0)
        key = intermediate.key.public_key()
        over = _sign(intermediate.certificate.subject, key, first, path=0, life=-timedelta(days=1))
        ending = _sign(intermediate.certificate.subject, key, first, path=0, life=timedelta(days=10))
        cross = _sign(second.certificate.subject, second.key.public_key(), first, path=1)
        return cls(
            roots=(first, second),
            intermediate=intermediate,
            alternate_pem=alternate.public_bytes(Encoding.PEM),
            cross_pem=cross.public_bytes(Encoding.PEM),
            over_pem=over.public_bytes(Encoding.PEM),
            ending_pem=ending.public_bytes(Encoding.PEM),
            stranger=_intermediate("Stranger Intermediate", foreign),
        )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _root(name: str) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(key=key, certificate=_sign(_subject(name), key.public_key(), None, path=2, own_key=key))


def _intermediate(name: str, issuer: Signer) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(key=key, certificate=_sign(_subject(name), key.public_key(), issuer, path=0))


def _sign(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Signer | None,
    *,
    path: int,
    life: timedelta = _LIFE,
    own_key: ec.EllipticCurvePrivateKey | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    signing_key = issuer.key if issuer else own_key
    assert signing_key is not None
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
