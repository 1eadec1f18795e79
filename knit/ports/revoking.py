"""Certificates that are to be revoked: who does it, what is known of them, and their copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from knit.core.model.certificate import Bundle, CertId
from knit.core.model.revocation import Copy, Revocation, RevocationId
from knit.core.revocation import Course, Standing


@runtime_checkable
class Revoker(Protocol):
    """An issuer that takes back what it has issued."""

    by_serial: bool
    """Whether the number is all that it needs to be told."""

    def revoke(self, serial: str, reason: str, bundle: Bundle | None = None) -> datetime | None:
        """The certificate is revoked when this returns; one that was revoked before is no error.

        Gives since when, where the CA says so. `serial` is hex, as recorded; `reason` is a word of RFC 5280 section
        5.3.1. Of the bundle, the key is used only where our account may not revoke it, and then signs. Raises
        Unreachable, AccountLimited, IssuerDown; Refused in the issuer's own words.
        """


class Revokers(Protocol):
    """Finds who has issued what is to be revoked."""

    def revoker(self, issuer: str) -> Revoker:
        """Raises Misconfigured when it cannot be opened, Refused where it is of a kind that revokes nothing."""


class Copies(Protocol):
    """Values that were published, kept until the CA has been shown them. No bytes of them are anywhere else."""

    def put(self, revocation: RevocationId, value: bytes, until: datetime) -> None:
        """Keep it durably, and no longer than until then; a second one replaces the first."""

    def get(self, revocation: RevocationId) -> bytes | None:
        """What was put, or None when it is gone."""

    def discard(self, revocation: RevocationId) -> None:
        """Forget it."""


class Revocations(Protocol):
    """What is known of them. Each write is made only while the revocation is open, but for `discarded`."""

    def any_due(self) -> bool:
        """Whether there is anything to do now, however much it is."""

    def due(self) -> Sequence[RevocationId]:
        """The revocations that have something to do now, the oldest first."""

    def uncopied(self) -> Sequence[RevocationId]:
        """Those of them whose certificate is nowhere but where it is published, the oldest first."""

    def one(self, revocation: RevocationId) -> Revocation | None:
        """The revocation as it is now, with the key that the certificate is published under while it is."""

    def copied(self, one: Revocation, copy: Copy, *, fingerprint: str | None, spki_sha256: str | None) -> None:
        """The copy is made, or cannot be. A compromised key is remembered by the hash of its public half."""

    def compromised(self, one: Revocation, spki_sha256: str) -> None:
        """Its key, of which this is the hash of the public half, is never published again."""

    def postpone(self, one: Revocation, *, error: BaseException, retry_at: datetime) -> None:
        """The revocation could not be done, and is tried again then."""

    def revoked(self, one: Revocation, at: datetime | None) -> None:
        """The certificate is revoked, since then or since now."""

    def refuse(self, one: Revocation, *, error: BaseException) -> None:
        """The certificate will not be revoked, for this reason."""

    def discarded(self, one: Revocation) -> None:
        """There is no copy any more."""


class RevocationBook(Protocol):
    """Revocations for somebody at a shell."""

    def ask(self, which: CertId | str, decide: Callable[[Standing], Course | None]) -> Revocation:
        """Record the wish with all that follows from it, in one transaction; gives it, or the one that is done already.

        By id it is about what is published now; by serial number (hex) also about what is past, as far as it is known.
        Raises NoSuchCertificate, and what `decide` raises: then nothing is recorded.
        """

    def of(self, cert_id: CertId) -> Sequence[Revocation]:
        """The revocations of one certificate of the list, the newest first."""

    def open(self) -> Sequence[Revocation]:
        """The revocations that are not over, the oldest first."""

    def one(self, revocation: RevocationId) -> Revocation | None:
        """The revocation as it is now."""
