"""One attempt's order, from its key to a checked bundle in staging."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from knit.core import x509
from knit.core.digest import pair_digest
from knit.core.events import Kind, Told
from knit.core.model.attempt import BEFORE_FINALIZE, Attempt, IssueRequest, Renewed
from knit.core.model.certificate import Bundle, CertSpec, Leaf
from knit.errors import BundleMismatch, Misconfigured, OrderKept, OrderLost, Refused, ServerDenied
from knit.flows.proving import Counted
from knit.ports.events import Listener
from knit.ports.issuing import Issuer
from knit.ports.journal import Attempts, Forgiven, Journal
from knit.ports.leases import Lease
from knit.ports.process import Clock
from knit.ports.solving import Prover
from knit.ports.staging import Staging

WEEK = timedelta(days=7)
KEY_LOST = (
    "the key of a finalized order is gone from Valkey, which must keep what it is given (persistence, noeviction)"
)
UNFIT = "it is kept and looked at again; `knit renew --force` orders another"


class OrderPorts(Protocol):
    """What an order needs; see RenewPorts."""

    @property
    def store(self) -> Attempts: ...
    @property
    def staging(self) -> Staging: ...
    @property
    def prover(self) -> Callable[[str, Journal], Prover]: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def tell(self) -> Listener: ...
    def issuer(self, attempt: Attempt) -> Issuer: ...
    def failures(self, attempt: Attempt) -> Forgiven: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """An attempt to be brought to step `issued`, while its certificate's lease is held."""

    ports: OrderPorts
    spec: CertSpec
    attempt: Attempt
    lease: Lease

    def fill(self, fresh: x509.CertKey | None) -> Renewed:
        """Go on from wherever the attempt is. `fresh` is a key that is not staged yet, of a new attempt."""
        with nullcontext() if self.attempt.step in BEFORE_FINALIZE else _keeping():
            key, staged = self._find_or_stage_key() if fresh is None else self._stage(fresh)
            issuer = self.ports.issuer(self.attempt)
        leaf, leftovers = self._fit(staged, key, issuer), False
        if leaf is None:
            with self._had(staged, key, issuer):
                staged, leftovers = self._obtain(key, issuer)
            with _keeping():
                leaf = self._checked(staged, key, issuer)
        with _keeping():
            self.ports.store.hand_over(self.lease, self.attempt, leaf, pair_digest(staged, key.pem))
        return self._tell_issued(leaf, leftovers=leftovers)

    def _find_or_stage_key(self) -> tuple[x509.CertKey, bytes]:
        """What this attempt staged earlier, or a new key, staged before anything is asked of the CA; and its chain.

        A key lost after finalize cannot be had again. Raises OrderLost.
        """
        attempt = self.attempt
        staged = self.ports.staging.get(attempt.id) if attempt.spki_sha256 is not None else None
        if staged is not None and (key := _key_of(staged, attempt)) is not None:
            return key, staged.fullchain
        if attempt.spki_sha256 is not None and attempt.step not in BEFORE_FINALIZE:
            raise OrderLost(KEY_LOST)
        key, _ = another = self._stage(x509.CertKey.new(attempt.key_type))
        self.ports.store.key_staged(self.lease, attempt, key.spki_sha256)
        return another

    def _stage(self, key: x509.CertKey) -> tuple[x509.CertKey, bytes]:
        self.ports.staging.put(self.attempt.id, Bundle(fullchain=b"", privkey=key.pem))
        return key, b""

    def _fit(self, chain: bytes, key: x509.CertKey, issuer: Issuer) -> Leaf | None:
        """The facts of a chain that an earlier run has staged, unless there is none, or it is not fit for use."""
        try:
            return self._checked(chain, key, issuer) if chain else None
        except BundleMismatch:
            return None

    @contextmanager
    def _had(self, chain: bytes, key: x509.CertKey, issuer: Issuer) -> Iterator[None]:
        """A certificate that is there, though it is not fit for use, is not ordered again once its order is over."""
        try:
            yield
        except Refused:
            if chain:
                self._checked(chain, key, issuer)
            raise

    def _obtain(self, key: x509.CertKey, issuer: Issuer) -> tuple[bytes, bool]:
        """The chain, and whether challenge records are left to remove."""
        attempt = self.attempt
        request = IssueRequest(
            names=attempt.names,
            csr_der=key.csr(attempt.names),
            cert_id=attempt.cert_id,
            profile=attempt.profile,
            preferred_chain=attempt.preferred_chain,
            order_url=attempt.order_url,
            finalized=attempt.step not in BEFORE_FINALIZE,
            replaces=attempt.replaces,
            overdue=attempt.started_at < self.ports.clock() - WEEK,
        )
        with closing(self.ports.store.journal(self.lease, attempt)) as journal:
            prover = Counted(
                open_prover=lambda: self.ports.prover(attempt.provider, journal),
                journal=journal,
                forgiven=self.ports.failures(attempt),
            )
            with prover.opened(attempt.waits_for) if issuer.proves and not request.finalized else nullcontext():
                chain = issuer.issue(request, journal, prover, partial(self._keep, key))
            return chain, journal.leaves_records()

    def _keep(self, key: x509.CertKey, chain: bytes) -> None:
        """What the CA has issued, whatever it is: it has cost one of the few that the CA gives for these names."""
        with _keeping():
            self.lease.check()
            self.ports.staging.put(self.attempt.id, Bundle(fullchain=chain, privkey=key.pem))

    def _checked(self, chain: bytes, key: x509.CertKey, issuer: Issuer) -> Leaf:
        """Raises BundleMismatch, for a person to look at; Refused for a chain that has run out while it was kept."""
        now, attempt = self.ports.clock(), self.attempt
        try:
            return x509.check(Bundle(fullchain=chain, privkey=key.pem), attempt.names, now, key, roots=issuer.roots)
        except BundleMismatch as error:
            if attempt.started_at < x509.ends(chain) <= now:
                raise Refused(f"{error}; it was kept until it ran out") from error
            raise BundleMismatch(f"{error}; {UNFIT}") from error

    def _tell_issued(self, leaf: Leaf, *, leftovers: bool) -> Renewed:
        cert_id, attempt_id = self.spec.id, self.attempt.id
        detail = {"names": self.spec.names_key, "serial": leaf.serial, "not_after": leaf.not_after}
        told = Told(kind=Kind.CERTIFICATE_ISSUED, cert_id=cert_id, attempt_id=attempt_id, detail=detail)
        self.ports.tell(told)
        return Renewed(cert_id=cert_id, attempt_id=attempt_id, leftovers=leftovers)


@contextmanager
def _keeping() -> Iterator[None]:
    """Once a certificate may have been issued, nothing that is wrong on our side ends its order."""
    try:
        yield
    except (BundleMismatch, OrderLost, ServerDenied):
        raise
    except (Refused, Misconfigured) as error:
        raise OrderKept(f"{error}; the order and its key are kept") from error


def _key_of(staged: Bundle, attempt: Attempt) -> x509.CertKey | None:
    try:
        key = x509.CertKey.of(staged.privkey)
    except BundleMismatch:
        return None
    return key if key.spki_sha256 == attempt.spki_sha256 else None
