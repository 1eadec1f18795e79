"""Issuers that are knit's own: a CA from files, and certificates that nobody vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knit.core.model.issuer import Terms
from knit.errors import Misconfigured

if TYPE_CHECKING:
    from knit.core.own_ca import Authority, Chain
    from knit.settings.document import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCa:
    """A CA from files, read and found to belong together."""

    terms: Terms
    authority: Authority = field(repr=False)
    lifetime: timedelta
    permitted: tuple[str, ...] | None
    client_auth: bool
    crl_url: str | None
    crl_lifetime: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfSigned:
    """Certificates for trials."""

    terms: Terms
    lifetime: timedelta


def ca_directory(file: Document, name: str, values: Mapping[str, Any]) -> str:
    """By the key of its certificate: all processes read that, and those alone that issue read the key itself."""
    return _chain(file, name, values).directory


def own_ca(file: Document, terms: Terms, values: Mapping[str, Any]) -> OwnCa:
    """Raises Misconfigured, with the line, for files that cannot be read or do not belong together."""
    from knit.core.own_ca import Authority

    name = terms.name
    passphrase = None
    if values["passphrase_file"] is not None:
        passphrase = _read(file, name, "passphrase_file", values).rstrip(b"\r\n")
    chain, key = _chain(file, name, values), _read(file, name, "key_file", values)
    if values["client_auth"] and not chain.signs_clients:
        why = "its certificates may not vouch for clients (extended key usage)"
        raise file.wrong(("issuer", name, "client_auth"), f"client_auth = true: {why}")
    try:
        authority = Authority.of(chain, key, passphrase)
    except Misconfigured as error:
        raise _wrong(file, name, "key_file", values, str(error)) from None
    own = ("lifetime", "permitted", "client_auth", "crl_url", "crl_lifetime")
    return OwnCa(terms=terms, authority=authority, **{key: values[key] for key in own})


def self_signed(terms: Terms, values: Mapping[str, Any]) -> SelfSigned:
    """Needs nothing."""
    return SelfSigned(terms=terms, lifetime=values["lifetime"])


def _chain(file: Document, name: str, values: Mapping[str, Any]) -> Chain:
    from knit.core.own_ca import Chain  # Most installations have no CA of their own.

    pem = _read(file, name, "cert_file", values)
    try:
        return Chain.of(pem)
    except Misconfigured as error:
        raise _wrong(file, name, "cert_file", values, str(error)) from None


def _read(file: Document, name: str, key: str, values: Mapping[str, Any]) -> bytes:
    try:
        return Path(values[key]).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _wrong(file, name, key, values, f"cannot be read ({why})") from None


def _wrong(file: Document, name: str, key: str, values: Mapping[str, Any], why: str) -> Misconfigured:
    return file.wrong(("issuer", name, key), f"{key} = {values[key]!r}: {why}")
