"""Certificates that are to be revoked: a copy of each, another one in its place, then the word to its CA."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from knit.core import retry
from knit.core.events import Kind, Severity, Told
from knit.core.model.certificate import Bundle
from knit.core.model.decision import Rules
from knit.core.model.results import Revoking
from knit.core.model.revocation import Copy, Revocation, RevocationId, Revoked
from knit.core.revocation import NO_COPY
from knit.core.value import Value
from knit.errors import (
    BundleMismatch,
    Busy,
    Interrupted,
    LeaseLost,
    Misconfigured,
    Outage,
    Refused,
    ServerDenied,
    Transient,
)
from knit.ports.events import Listener
from knit.ports.leases import Leases
from knit.ports.process import Clock
from knit.ports.publication import Publication
from knit.ports.revoking import Copies, Revocations, Revoker, Revokers


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """The flow with its ports. Running it twice, or two at once, comes to the same: the CA revokes once."""

    store: Revocations
    leases: Leases
    publication: Publication
    copies: Copies
    revokers: Revokers
    rules: Rules
    clock: Clock
    tell: Listener

    def due(self) -> bool:
        """Whether there is anything to do now. One question to PostgreSQL."""
        return bool(self.store.due())

    def run(self) -> Revoking:
        """Do what can be done now about each. Failures are recorded, told and counted, not raised.

        Raises Interrupted when the process is stopping, and Outage or ServerDenied when PostgreSQL or the certificate
        Valkey is away or shuts us out: what is left is found by the next run.
        """
        found = [self._hold(revocation) for revocation in self.store.due()]
        return Revoking(
            copied=sum(one.copied for one in found),
            revoked=sum(one.revoked for one in found),
            failed=sum(one.failed for one in found),
        )

    def _hold(self, revocation: RevocationId) -> Revoking:
        with self.leases.hold(f"revocation:{revocation}") as lease:
            one = None if lease is None else self.store.one(revocation)
            if one is None or not one.due:
                return Revoking()
            if one.state is not Revoked.WANTED:
                self._discard(one)
                return Revoking()
            if one.copy is not Copy.WANTED:
                return self._ask(one)
            self._copy(one)
            now = self.store.one(revocation)
            asked = self._ask(now) if now is not None and now.due else Revoking()
            return replace(asked, copied=1)

    def _ask(self, now: Revocation) -> Revoking:
        try:
            self._revoke(now)
        except (Busy, Interrupted, LeaseLost, Outage, ServerDenied):
            raise
        except (Transient, Misconfigured) as error:
            self._postpone(now, error)
            return Revoking(failed=1)
        except Refused as error:
            self.store.refuse(now, error=error)
            self._tell(Kind.REVOCATION_REFUSED, Severity.ERROR, now, error=str(error))
            return Revoking(failed=1)
        self._discard(now)
        return Revoking(revoked=1)

    def _copy(self, one: Revocation) -> None:
        """Before anything takes its place. What is there and is another certificate is none of this one's."""
        from knit.core import x509  # Few runs look into a certificate.

        raw = self.publication.live([one.valkey_key]).get(one.valkey_key)
        leaf = fingerprint = None
        if raw is not None:
            with suppress(BundleMismatch):
                chain = Value.from_wire(raw).fullchain
                leaf, fingerprint = x509.leaf(chain), x509.certificate_sha256(chain)
        if raw is None or leaf is None or leaf.serial != one.serial:
            self.store.copied(one, Copy.NONE, fingerprint=None, spki_sha256=None)
            return
        self.copies.put(one.id, raw, one.not_after)
        self.store.copied(one, Copy.KEPT, fingerprint=fingerprint, spki_sha256=leaf.spki_sha256)

    def _revoke(self, one: Revocation) -> None:
        revoker = self._revoker(one)
        bundle = None if revoker.by_serial else self._bundle(one)
        at = revoker.revoke(one.serial, one.reason, bundle)
        self.store.revoked(one, at)
        self._tell(Kind.CERTIFICATE_REVOKED, Severity.NOTICE, one)

    def _revoker(self, one: Revocation) -> Revoker:
        terms = self.rules.at(one.directory, one.issuer)
        if terms is None:
            raise Misconfigured(f"no issuer here has the directory {one.directory}")
        return self.revokers.revoker(terms.name)

    def _bundle(self, one: Revocation) -> Bundle:
        raw = self.copies.get(one.id) if one.copy is Copy.KEPT else None
        if raw is None:
            raise Refused(NO_COPY)
        return Value.from_wire(raw).bundle

    def _postpone(self, one: Revocation, error: Transient | Misconfigured) -> None:
        asked = error.retry_at if isinstance(error, Transient) else None
        at = retry.next_try(one.cert_id, one.tries + 1, self.clock(), asked)
        self.store.postpone(one, error=error, retry_at=at)
        self._tell(Kind.REVOCATION_FAILED, Severity.ERROR, one, error=str(error), next_try=at)

    def _discard(self, one: Revocation) -> None:
        self.copies.discard(one.id)
        self.store.discarded(one)

    def _tell(self, kind: Kind, severity: Severity, one: Revocation, **more: object) -> None:
        detail = {"names": one.names_key, "serial": one.serial, "issuer": one.issuer, "reason": one.reason, **more}
        self.tell(Told(kind=kind, severity=severity, cert_id=one.cert_id, detail=detail))
