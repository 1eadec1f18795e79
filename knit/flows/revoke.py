"""Certificates that are to be revoked: a copy of each, another one in its place, then the word to its CA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from knit.core import retry
from knit.core.events import Kind, Severity, Told
from knit.core.model.certificate import Bundle, Leaf
from knit.core.model.decision import Rules
from knit.core.model.results import Revoking
from knit.core.model.revocation import Copy, Revocation, RevocationId, Revoked
from knit.core.revocation import COMPROMISED, NO_COPY
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

LONGEST: Final = timedelta(seconds=45)
"""A run ends after this, so that a worker can be told to stop; what is left is the next one's."""


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
        return self.store.any_due()

    def run(self) -> Revoking:
        """Do what can be done now about each, for `LONGEST` or a little more. Failures are recorded, told and counted.

        Raises Interrupted when the process is stopping, and Outage or ServerDenied when PostgreSQL or the certificate
        Valkey is away or shuts us out: what is left is found by the next run.
        """
        return _Run(flow=self, ends=self.clock() + LONGEST).result()


@dataclass(slots=True, kw_only=True)
class _Run:
    """`down` are directories that could not be asked, each with the error: nobody is asked twice in vain in one run."""

    flow: Revoke
    ends: datetime
    copied: int = 0
    revoked: int = 0
    failed: int = 0
    down: dict[str, Transient] = field(default_factory=dict)

    def result(self) -> Revoking:
        """Copies first, of all: what is to be published or removed waits for them, and for no CA.

        Where no copy can be kept, those that wait for nothing are asked for all the same.
        """
        unkept: Outage | None = None
        try:
            more = self._each(self.flow.store.uncopied(), self._copy)
        except Outage as error:
            unkept, more = error, False
        more = more or self._each(self.flow.store.due(), self._ask)
        if unkept is not None:
            raise unkept
        return Revoking(copied=self.copied, revoked=self.revoked, failed=self.failed, more=more)

    def _each(self, revocations: Sequence[RevocationId], act: Callable[[Revocation], None]) -> bool:
        """Whether there was no time for all of them."""
        for revocation in revocations:
            if self.flow.clock() >= self.ends:
                return True
            self._hold(revocation, act)
        return False

    def _hold(self, revocation: RevocationId, act: Callable[[Revocation], None]) -> None:
        """Nobody else is at it meanwhile."""
        with self.flow.leases.hold(f"revocation:{revocation}") as lease:
            one = None if lease is None else self.flow.store.one(revocation)
            if one is not None and one.due:
                act(one)

    def _copy(self, one: Revocation) -> None:
        """Copy the certificate before anything takes its place. Another certificate in its place is not copied."""
        if one.state is not Revoked.WANTED or one.copy is not Copy.WANTED:
            return
        self.copied += 1
        raw, leaf, fingerprint = self._published(one)
        if leaf is None:
            self.flow.store.copied(one, Copy.NONE, fingerprint=None, spki_sha256=None)
            return
        self.flow.copies.put(one.id, raw, one.not_after)
        self.flow.store.copied(one, Copy.KEPT, fingerprint=fingerprint, spki_sha256=leaf.spki_sha256)

    def _published(self, one: Revocation) -> tuple[bytes, Leaf | None, str | None]:
        """Its value, the facts of its certificate, its fingerprint; no facts where it is gone, or another is there."""
        from knit.core import x509  # Few runs look into a certificate.

        raw = self.flow.publication.live([one.valkey_key]).get(one.valkey_key, b"")
        with suppress(BundleMismatch):
            chain = Value.from_wire(raw).fullchain
            leaf, fingerprint = x509.leaf(chain), x509.certificate_sha256(chain)
            if leaf.serial == one.serial:
                return raw, leaf, fingerprint
        return raw, None, None

    def _ask(self, one: Revocation) -> None:
        """Ask the CA. A revocation that is over has a copy to be removed."""
        if one.state is not Revoked.WANTED:
            self._discard(one)
            return
        if one.copy is Copy.WANTED and (one.waits or one.next_try_at > self.flow.clock()):
            return
        try:
            self._revoke(one)
        except (Busy, Interrupted, LeaseLost, Outage, ServerDenied):
            raise
        except (Transient, Misconfigured) as error:
            self._postpone(one, error)
        except Refused as error:
            self.failed += 1
            self.flow.store.refuse(one, error=error)
            self._tell(Kind.REVOCATION_REFUSED, Severity.ERROR, one, error=str(error))

    def _revoke(self, one: Revocation) -> None:
        if one.directory in self.down:
            raise self.down[one.directory]
        revoker = self._revoker(one)
        bundle = None if revoker.by_serial else self._bundle(one)
        if bundle is not None and one.reason == COMPROMISED:
            self._declare_compromised(one, bundle)
        at = revoker.revoke(one.serial, one.reason, bundle)
        self.flow.store.revoked(one, at)
        self.revoked += 1
        self._tell(Kind.CERTIFICATE_REVOKED, Severity.NOTICE, one)
        self._discard(one)

    def _revoker(self, one: Revocation) -> Revoker:
        terms = self.flow.rules.at(one.directory, one.issuer)
        if terms is None:
            raise Misconfigured(f"no issuer here has the directory {one.directory}")
        return self.flow.revokers.revoker(terms.name)

    def _bundle(self, one: Revocation) -> Bundle:
        raw = self.flow.copies.get(one.id) if one.copy is Copy.KEPT else None
        if one.copy is Copy.WANTED:
            found, leaf, _ = self._published(one)
            raw = None if leaf is None else found
        if raw is None:
            raise Refused(NO_COPY)
        return Value.from_wire(raw).bundle

    def _declare_compromised(self, one: Revocation, bundle: Bundle) -> None:
        """Of what is past, or was taken over, the key is known only now."""
        from knit.core import x509

        self.flow.store.compromised(one, x509.leaf(bundle.fullchain).spki_sha256)

    def _postpone(self, one: Revocation, error: Transient | Misconfigured) -> None:
        """At a CA that cannot be asked now, the others of this run wait with it."""
        self.failed += 1
        asked = None
        if isinstance(error, Transient):
            self.down[one.directory], asked = error, error.retry_at
        at = retry.next_try(one.cert_id, one.tries + 1, self.flow.clock(), asked)
        self.flow.store.postpone(one, error=error, retry_at=at)
        self._tell(Kind.REVOCATION_FAILED, Severity.ERROR, one, error=str(error), next_try=at)

    def _discard(self, one: Revocation) -> None:
        if one.copy is Copy.KEPT:
            self.flow.copies.discard(one.id)
        self.flow.store.discarded(one)

    def _tell(self, kind: Kind, severity: Severity, one: Revocation, **more: object) -> None:
        detail = {"names": one.names_key, "serial": one.serial, "issuer": one.issuer, "reason": one.reason, **more}
        self.flow.tell(Told(kind=kind, severity=severity, cert_id=one.cert_id, detail=detail))
