"""Who issues, and as whom we are known there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from knit.core.model.certificate import CertSpec, KeyType

UNNAMED = "acme"
"""What rows of the list say that were written before there were several issuers. Where no issuer is called so, it means
what is meant by nothing at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An ACME account, bound to the directory it was registered at.

    `private_key` is PEM. `uri` is None while only the key exists: it is stored before the CA hears of it, so that
    a crash registers the same key again instead of a second account. `registration` is the JSON text the CA gave
    (in the original's table: lego's `{"body": ..., "uri": ...}`), "" when there is none.

    `next_key` (PEM) is to take the key's place: while it is there, the CA may know either. `deactivated_at`: since when
    it is not to be used any more.
    """

    directory: str
    issuer: str
    email: str
    private_key: str = field(repr=False)
    uri: str | None = None
    registration: str = ""
    next_key: str | None = field(default=None, repr=False)
    deactivated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKept:
    """What is known of an account without its key. `sealed_by`: id of the key that has sealed it; None: in clear."""

    directory: str
    issuer: str
    email: str
    uri: str | None
    sealed_by: str | None
    deactivated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One account key after it was to be sealed. `result`: `sealed`, `sealed already` or `left as it was`."""

    issuer: str
    directory: str
    table: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one issuer is asked for: what is wanted of a certificate and, where that says nothing, the issuer's own."""

    issuer: str
    directory: str
    key_type: KeyType
    profile: str | None = None
    preferred_chain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who an issuer is, and how it issues what says nothing of its own.

    `name` is what certificates ask for. `directory` is where its certificates come from: the URL of an ACME directory,
    and for other kinds a text that begins with the kind. `limits` is the model of its published limits, by name or as
    a table; None: the one that its directory is known for.
    """

    name: str
    kind: str = "acme"
    directory: str
    staging: bool = False
    key_type: KeyType = KeyType.EC256
    profile: str | None = None
    preferred_chain: str | None = None
    limits: str | Mapping[str, object] | None = None

    def asked(self, spec: CertSpec) -> Asked:
        """What this issuer is asked for when it issues this certificate."""
        return Asked(
            issuer=self.name,
            directory=self.directory,
            key_type=spec.key_type or self.key_type,
            profile=spec.profile or self.profile,
            preferred_chain=spec.preferred_chain or self.preferred_chain,
        )

    @property
    def fingerprint(self) -> str:
        """Changes with everything that can make a certificate due. Says nothing of what is as it always was."""
        name = "" if self.name == UNNAMED else f"{self.name}="
        key_type = "" if self.key_type is KeyType.EC256 else self.key_type
        own = f"{key_type},{self.profile or ''},{self.preferred_chain or ''}"
        return f"{name}{self.directory}" + ("" if own == ",," else f"[{own}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One issuer, and since when it has been this one."""

    name: str
    kind: str
    directory: str
    since: datetime
