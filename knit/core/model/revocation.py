"""A certificate that is to be revoked, or was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from knit.core.model.certificate import CertId

RevocationId = NewType("RevocationId", int)


class Revoked(StrEnum):
    """How far a revocation is."""

    WANTED = "wanted"
    REVOKED = "revoked"
    REFUSED = "refused"


class Copy(StrEnum):
    """Where the certificate's bytes are, which its CA is shown: only where they are published, in a copy, nowhere."""

    WANTED = "wanted"
    KEPT = "kept"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One certificate, identified by its serial number (hex) and its issuer's directory, not by its place on the list.

    `fingerprint` is the SHA-256 of its DER bytes, once these were seen. `replace`: another one is published first;
    `waits`: that is not so yet. `due`: there is something to do now. `tries` counts vain ones in a row; `error` is what
    the last one met, or the CA's refusal.
    """

    id: RevocationId
    cert_id: CertId
    names_key: str
    serial: str
    fingerprint: str | None
    issuer: str
    directory: str
    valkey_key: str
    not_after: datetime
    reason: str
    replace: bool
    asked_at: datetime
    asked_by: str
    state: Revoked
    copy: Copy
    tries: int
    next_try_at: datetime
    error: str | None
    ended_at: datetime | None
    waits: bool = False
    due: bool = False
