"""Who issues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from knit.core.model.keys import KeyType

if TYPE_CHECKING:
    from knit.core.model.certificate import CertSpec

UNNAMED = "acme"
"""What rows of the list say that were written before there were several issuers. Where no issuer is called so, it means
what is meant by nothing at all."""


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
    a table; None: the one that its directory is known for. `roots` tells the certificates that vouch for its own web
    server from others; None: nothing needs them, or nobody here knows. `concurrency` is how many of its orders may be
    in flight, over all workers together; None: as many as they like.
    """

    name: str
    kind: str = "acme"
    directory: str
    staging: bool = False
    key_type: KeyType = KeyType.EC256
    profile: str | None = None
    preferred_chain: str | None = None
    limits: str | Mapping[str, object] | None = None
    roots: str | None = None
    concurrency: int | None = None

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
    def has_choices(self) -> bool:
        """Whether it may have profiles and more than one chain: those that sign here themselves have not."""
        return self.kind == "acme"

    @property
    def fingerprint(self) -> str:
        """Changes with everything that can make a certificate due.

        Defaults are left out, so fingerprints stored by earlier versions stay valid.
        """
        name = "" if self.name == UNNAMED else f"{self.name}="
        key_type = "" if self.key_type is KeyType.EC256 else self.key_type
        own = f"{key_type},{self.profile or ''},{self.preferred_chain or ''}"
        return f"{name}{self.directory}" + ("" if own == ",," else f"[{own}]")


class Identity(NamedTuple):
    """What an issuer is, as PostgreSQL remembers it. `roots` as in Terms; None: not recorded."""

    directory: str
    roots: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One issuer, and since when it has been this one."""

    name: str
    kind: str
    directory: str
    since: datetime
    roots: str | None = None

    @property
    def identity(self) -> Identity:
        """What it is."""
        return Identity(self.directory, self.roots)
