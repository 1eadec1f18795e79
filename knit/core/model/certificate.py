"""A certificate as wanted, as issued, and as bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NewType

from knit.core.imported import is_imported
from knit.core.model.keys import KeyType
from knit.core.names import key_of

CertId = NewType("CertId", int)


def names_in(issuer: str) -> tuple[str, ...]:
    """The names of issuers in what a row says of them."""
    return tuple(name for part in issuer.split(",") if (name := part.strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class CertSpec:
    """One certificate as wanted: a row of knit_certs. `names` are normalised, the first one is primary.

    `issuer` has names of issuers, separated by commas, the first to be asked first; "" leaves it to the configuration.
    A key type, a profile or a preferred chain that is None is whatever its issuer has for its own certificates.
    """

    id: CertId
    names: tuple[str, ...]
    provider: str
    valkey_key: str
    cert_path: str
    key_path: str
    enabled: bool = True
    issuer: str = ""
    key_type: KeyType | None = None
    profile: str | None = None
    preferred_chain: str | None = None
    renew_before: timedelta | None = None
    reuse_key: bool = False
    allow_staging: bool = False
    requested_at: datetime | None = None

    @property
    def names_key(self) -> str:
        """The set of names as one text: what makes a certificate the same certificate."""
        return key_of(self.names)

    @property
    def imported(self) -> bool:
        """Whether knit never orders it: a person brings its certificate."""
        return is_imported(self.issuer)

    @property
    def issuers(self) -> tuple[str, ...]:
        """The names of its issuers, in order; none where the configuration says."""
        return names_in(self.issuer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What an issued leaf says of itself. `not_after` is when it or its issuer's certificate is over."""

    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    serial: str
    ari_id: str | None
    spki_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What is published for one certificate, kept apart from what is wanted.

    Key type, profile and preferred chain are those that its issuer was asked for.
    """

    cert_id: CertId
    names_key: str
    issuer: str
    directory: str
    key_type: str
    profile: str | None
    preferred_chain: str | None = None
    serial: str
    ari_id: str | None
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    sha256: str
    generation: int
    valkey_key: str
    cert_path: str
    key_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Full chain (leaf first) and private key, both PEM bytes. The key never shows in repr, logs or errors."""

    fullchain: bytes
    privkey: bytes = field(repr=False)
