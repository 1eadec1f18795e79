"""The certificates and the key that a CA of our own issues with. Bytes in, values out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from knit.core.chain import LARGEST_RSA_BITS, fingerprint, issued_by
from knit.core.constraints import Subtrees
from knit.core.keys import PrivateKey, SigningHash, signing_hash
from knit.errors import Misconfigured

Extension = TypeVar("Extension", bound=x509.ExtensionType)

BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
SMALLEST_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class Chain:
    """The issuing certificate, and those above it as far as they are given."""

    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def of(cls, pem: bytes) -> Chain:
        """From PEM: the issuing certificate first. Raises Misconfigured for what cannot issue."""
        try:
            found = tuple(x509.load_pem_x509_certificate(block) for block in BLOCK.findall(pem))
            chain = cls(found)
            if not found:
                raise Misconfigured("holds no PEM certificate")
            chain._check()
        except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm) as error:
            raise Misconfigured(f"cannot be read as PEM certificates ({error})") from None
        return chain

    @property
    def issuing(self) -> x509.Certificate:
        """Whose key signs."""
        return self.certificates[0]

    @property
    def top(self) -> x509.Certificate:
        """The one above all others; clients trust it where it is a root."""
        return self.certificates[-1]

    @property
    def directory(self) -> str:
        """How certificates of this CA are recognised: by its key.

        That stays the same when the CA's own certificate is renewed.
        """
        return f"ca:{fingerprint(self.issuing.public_key())}"

    @property
    def ends(self) -> datetime:
        """When the first of them is over."""
        return min(one.not_valid_after_utc for one in self.certificates)

    @property
    def begins(self) -> datetime:
        """When all of them are valid."""
        return max(one.not_valid_before_utc for one in self.certificates)

    @property
    def sent(self) -> bytes:
        """What servers send after the leaf, PEM: a root is left out, for clients have it or do not trust it."""
        return b"".join(_pem(one) for one in self.certificates if one.issuer != one.subject)

    @property
    def limits(self) -> tuple[Subtrees, ...]:
        """The name constraints of the chain. All of them bind."""
        return tuple(found for one in self.certificates if (found := constraints(one)) is not None)

    @property
    def limits_subjects(self) -> bool:
        """Whether name constraints are about subjects: then the empty one alone is within all of them."""
        found = [limit for one in self.certificates if (limit := _extension(one, x509.NameConstraints)) is not None]
        trees = [tree for one in found for tree in (*(one.permitted_subtrees or ()), *(one.excluded_subtrees or ()))]
        return any(isinstance(tree, x509.DirectoryName) for tree in trees)

    @property
    def signs_clients(self) -> bool:
        """Whether its certificates may say who a client is."""
        return all(_allows(one, ExtendedKeyUsageOID.CLIENT_AUTH) for one in self.certificates)

    @property
    def signs_lists(self) -> bool:
        """Whether the issuing certificate allows to sign lists of revoked certificates."""
        usage = _extension(self.issuing, x509.KeyUsage)
        return usage is None or usage.crl_sign

    def _check(self) -> None:
        for issued, issuer in zip(self.certificates, self.certificates[1:], strict=False):
            if not issued_by(issued, issuer):
                raise Misconfigured(f"{_name(issued)} is not issued by {_name(issuer)}, which follows it")
        for below, one in enumerate(self.certificates):
            _check_issues(one, below)


@dataclass(frozen=True, slots=True)
class Authority:
    """A chain and the key of its first certificate."""

    chain: Chain
    key: PrivateKey = field(repr=False)

    @classmethod
    def of(cls, chain: Chain, key_pem: bytes, passphrase: bytes | None) -> Authority:
        """Raises Misconfigured for a key that cannot be read, or is another certificate's."""
        key = private_key(key_pem, passphrase)
        if fingerprint(key.public_key()) != fingerprint(chain.issuing.public_key()):
            raise Misconfigured(f"is not the key of {_name(chain.issuing)}")
        return cls(chain, key)

    @property
    def hash(self) -> SigningHash:
        """What its signatures are made over."""
        return signing_hash(self.key)


def private_key(pem: bytes, passphrase: bytes | None) -> PrivateKey:
    """A CA's key, EC or RSA. Raises Misconfigured; the text says nothing of what was read."""
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except TypeError:
        wanted = (
            "is encrypted: a passphrase is needed (passphrase_file)"
            if passphrase is None
            else "is not encrypted: it has no passphrase"
        )
        raise Misconfigured(wanted) from None
    except (ValueError, UnsupportedAlgorithm):
        why = "" if passphrase is None else ", or the passphrase is wrong"
        raise Misconfigured(f"cannot be read as a PEM private key{why}") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise Misconfigured("must be an EC or RSA key")
    if isinstance(key, rsa.RSAPrivateKey) and not SMALLEST_RSA_BITS <= key.key_size <= LARGEST_RSA_BITS:
        raise Misconfigured(f"must have {SMALLEST_RSA_BITS} to {LARGEST_RSA_BITS} bits, has {key.key_size}")
    return key


def constraints(certificate: x509.Certificate) -> Subtrees | None:
    """For which DNS names a CA certificate may issue; None when it does not say. Raises ValueError."""
    found = _extension(certificate, x509.NameConstraints)
    if found is None:
        return None
    permitted, excluded = _trees(found.permitted_subtrees), _trees(found.excluded_subtrees)
    return Subtrees(
        source=f"the name constraints of {_name(certificate)}", permitted=permitted or None, excluded=excluded
    )


def _trees(found: Sequence[x509.GeneralName] | None) -> tuple[str, ...]:
    return tuple(name.value.lower() for name in found or () if isinstance(name, x509.DNSName))


def _check_issues(certificate: x509.Certificate, below: int) -> None:
    """Check that a certificate may issue, with so many other CA certificates below it."""
    name = _name(certificate)
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is None or not basic.ca:
        raise Misconfigured(f"{name} is no CA certificate")
    if basic.path_length is not None and basic.path_length < below:
        raise Misconfigured(f"{name} allows no more than {basic.path_length} CA certificates below it")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise Misconfigured(f"{name} may not sign certificates (key usage)")
    if not _allows(certificate, ExtendedKeyUsageOID.SERVER_AUTH):
        raise Misconfigured(f"{name} may not vouch for servers (extended key usage: serverAuth is not in it)")
    for one in certificate.extensions:
        if one.critical and isinstance(one.value, x509.UnrecognizedExtension):
            why = "clients refuse what they do not know (RFC 5280 section 4.2)"
            raise Misconfigured(f"{name} has a critical extension {one.oid.dotted_string}: {why}")


def _allows(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> bool:
    """Whether what is below it may serve this purpose: clients take its extended key usage for a limit.

    RFC 5280 section 4.2.1.12 leaves it to them whether anyExtendedKeyUsage will do: OpenSSL does not take it.
    """
    found = _extension(certificate, x509.ExtendedKeyUsage)
    return found is None or purpose in found


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(certificate: x509.Certificate) -> str:
    return repr(certificate.subject.rfc4514_string()[:200])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
