"""A chain and its key, found to be a pair that OpenSSL serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from knit.core.model.certificate import Bundle
from knit.core.readable import inspect
from knit.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """`origin` is the file of its chain, or its key in Valkey; `names` are the DNS names, else the common names."""

    origin: str
    names: tuple[str, ...]
    serial: int
    not_before: datetime
    not_after: datetime
    certificates: int
    bundle: Bundle = field(repr=False)

    @classmethod
    def of(cls, origin: str, bundle: Bundle) -> Pair:
        """Raises Refused for what is no pair, or one that servers do not take."""
        try:
            inspect(bundle.fullchain, bundle.privkey)
        except ValueError as error:
            raise Refused(str(error)) from None
        leaf = x509.load_pem_x509_certificate(bundle.fullchain)
        return cls(
            origin=origin,
            names=tuple(_dns_names(leaf) or _common_names(leaf)),
            serial=leaf.serial_number,
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            certificates=bundle.fullchain.count(b"-----BEGIN "),
            bundle=bundle,
        )


def _common_names(leaf: x509.Certificate) -> list[str]:
    return [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _dns_names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []
    return names.get_values_for_type(x509.DNSName)
