"""What a CA of our own signs: certificates of servers (RFC 5280 section 4) and lists of revoked ones (section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from knit.core.own_ca import Authority

LONGEST_COMMON_NAME: Final = 64
SHORTEST: Final = timedelta(hours=1)
BACKDATED: Final = timedelta(minutes=5)
"""Clocks of clients may be behind ours by so much."""

REASONS: Final = {
    "unspecified": x509.ReasonFlags.unspecified,
    "keyCompromise": x509.ReasonFlags.key_compromise,
    "affiliationChanged": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessationOfOperation": x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertTemplate:
    """What is to be signed besides the key: recorded before it is, so that it can be signed again as it was.

    `serial` is positive and has at most 20 bytes.
    """

    serial: int
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlEntry:
    """One certificate of a list of revoked ones."""

    serial: int
    at: datetime
    reason: str


def dates(now: datetime, lifetime: timedelta, begins: datetime, ends: datetime) -> tuple[datetime, datetime] | None:
    """From when to when a certificate is valid that is made now, in whole seconds; None when that is too short.

    It never outlives those above it, which are valid from `begins` to `ends`.
    """
    start = max((now - BACKDATED).replace(microsecond=0), begins)
    end = min((now + lifetime).replace(microsecond=0), ends)
    return (start, end) if begins <= now and end - now >= SHORTEST - timedelta(seconds=1) else None


def leaf(
    authority: Authority, csr_der: bytes, plan: CertTemplate, *, client_auth: bool = False, crl_url: str | None = None
) -> bytes:
    """The certificate for the key of this request, PEM. Nothing else of the request is read."""
    request = x509.load_der_x509_csr(csr_der)
    key, issuer = request.public_key(), authority.chain.issuing
    subject = x509.Name([]) if authority.chain.limits_subjects else _subject(plan.names)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(plan.serial)
        .not_valid_before(plan.not_before)
        .not_valid_after(plan.not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(_is_rsa(key)), critical=True)
        .add_extension(_purposes(client_auth=client_auth), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in plan.names]), critical=not subject)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(issuer_identifier(issuer), critical=False)
    )
    if crl_url is not None:
        builder = builder.add_extension(_distribution(crl_url), critical=False)
    signed = builder.sign(authority.key, authority.hash)
    return signed.public_bytes(serialization.Encoding.PEM)


def crl(
    authority: Authority, revoked: Iterable[CrlEntry], *, number: int, now: datetime, lifetime: timedelta
) -> x509.CertificateRevocationList:
    """The list of these, to be replaced by another within its lifetime."""
    issuer = authority.chain.issuing
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update((now - BACKDATED).replace(microsecond=0))
        .next_update((now + lifetime).replace(microsecond=0))
        .add_extension(issuer_identifier(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for one in revoked:
        builder = builder.add_revoked_certificate(_entry(one))
    return builder.sign(authority.key, authority.hash)


def usage(rsa_key: bool) -> x509.KeyUsage:  # noqa: FBT001 -- the one thing it depends on
    """What a server's key is for: an RSA key may also have secrets sent to it (TLS 1.2 without forward secrecy)."""
    return _usage(digital_signature=True, key_encipherment=rsa_key)


def ca_usage() -> x509.KeyUsage:
    """What a CA's key is for."""
    return _usage(key_cert_sign=True, crl_sign=True)


def issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The name of its key, as the certificate itself says it where it does."""
    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
        "encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names.split()})


def _is_rsa(key: CertificatePublicKeyTypes) -> bool:
    return isinstance(key, rsa.RSAPublicKey)


def _subject(names: Sequence[str]) -> x509.Name:
    """The subject: the first name, where a common name has room for it."""
    if len(names[0]) > LONGEST_COMMON_NAME:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])


def _purposes(*, client_auth: bool) -> x509.ExtendedKeyUsage:
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    return x509.ExtendedKeyUsage([server, client] if client_auth else [server])


def _distribution(url: str) -> x509.CRLDistributionPoints:
    where = [x509.UniformResourceIdentifier(url)]
    return x509.CRLDistributionPoints([x509.DistributionPoint(where, None, None, None)])


def _entry(one: CrlEntry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.at.replace(microsecond=0))
    if one.reason != "unspecified":
        builder = builder.add_extension(x509.CRLReason(REASONS[one.reason]), critical=False)
    return builder.build()
