"""Whoever an issuance needs besides the CA: a memory that lasts one test, and a prover that really sets records."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from knit.core import x509
from knit.core.model.account import Account
from knit.core.model.attempt import IssueRequest
from knit.core.model.certificate import Bundle, Leaf
from knit.core.model.challenge import Challenge, ChallengeId, Record
from knit.core.model.keys import KeyType
from knit.errors import Interrupted
from knit.issuers.acme import AccountOwner, AcmeIssuer, Site
from knit.ports.solving import Prover
from rig.challtestsrv import ChallTestSrv


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


class CertificateAuthority(Protocol):
    """Where the issuer finds its CA."""

    @property
    def directory_url(self) -> str: ...

    @property
    def ca_file(self) -> Path | str: ...


@dataclass(frozen=True)
class Place:
    """A CA that is only a URL and roots."""

    directory_url: str
    ca_file: Path


@dataclass
class Memory:
    """Accounts and leases, for all threads of one test."""

    kept: dict[tuple[str, str], Account] = field(default_factory=dict)
    old: Account | None = None
    saves: list[Account] = field(default_factory=list)
    held: threading.Lock = field(default_factory=threading.Lock)

    def get(self, directory: str, issuer: str) -> Account | None:
        return self.kept.get((directory, issuer))

    def save(self, account: Account) -> None:
        self.saves.append(account)
        self.kept[account.directory, account.issuer] = account

    def change_key(self, account: Account) -> bool:
        raise AssertionError(account)

    def contact(self, account: Account, email: str) -> None:
        self.kept[account.directory, account.issuer] = replace(account, email=email)

    def original(self) -> Account | None:
        return self.old

    @contextmanager
    def hold(self, name: str) -> Iterator[MemoryLease | None]:
        if not self.held.acquire(blocking=False):
            yield None
            return
        try:
            yield MemoryLease(name=name)
        finally:
            self.held.release()


@dataclass(frozen=True, kw_only=True)
class MemoryLease:
    """The one lease there is."""

    name: str
    epoch: int = 1
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def check(self) -> None:
        """Never lost."""


@dataclass
class Notes:
    """A journal on paper; it can be told to stop the process at one of its entries."""

    entries: list[tuple[str, str]] = field(default_factory=list)
    stop_at: str | None = None

    def ordered(self, order_url: str, expires: datetime | None = None) -> None:
        self._write("ordered", order_url)

    def presenting(self, record: Record) -> ChallengeId:
        self._write("presenting", record.value)
        return ChallengeId(len(self.entries))

    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None:
        self._write("presented", f"{challenge} {state}")

    def removed(self, challenge: ChallengeId) -> None:
        self._write("removed", str(challenge))

    def check(self) -> None:
        """Never lost."""

    def unordered(self) -> None:
        self._write("unordered", "")

    def unreplaced(self, why: str) -> None:
        self._write("unreplaced", why)

    def finalizing(self) -> None:
        self._write("finalizing", "")

    def shares_proofs(self) -> bool:
        return False

    @property
    def steps(self) -> list[str]:
        return [step for step, _ in self.entries]

    @property
    def order_url(self) -> str | None:
        return next((text for step, text in reversed(self.entries) if step == "ordered"), None)

    def _write(self, step: str, text: str) -> None:
        self.entries.append((step, text))
        if step == self.stop_at:
            message = "stopped by the test"
            raise Interrupted(message)


@dataclass
class TxtProver:
    """Sets the values at the DNS server that the CA asks."""

    dns: ChallTestSrv
    proved: list[Challenge] = field(default_factory=list)

    def rounds(self, challenges: Sequence[Challenge]) -> Sequence[Sequence[Challenge]]:
        return [challenges]

    def having(self, _lock: str) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def proving(self, challenges: Sequence[Challenge]) -> Iterator[None]:
        for challenge in challenges:
            self.dns.set_txt(challenge.name, challenge.value)
            self.proved.append(challenge)
        try:
            yield
        finally:
            for name in {challenge.name for challenge in challenges}:
                self.dns.clear_txt(name)


class TrustingProver:
    """For a CA that validates without looking."""

    def rounds(self, challenges: Sequence[Challenge]) -> Sequence[Sequence[Challenge]]:
        return [challenges]

    def having(self, _lock: str) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def proving(self, challenges: Sequence[Challenge]) -> Iterator[None]:
        assert challenges
        yield


@dataclass
class Wanted:
    """One certificate under way: its key and request stay the same over all tries."""

    names: tuple[str, ...]
    privkey: bytes = field(default_factory=lambda: x509.CertKey.new(KeyType.EC256).pem)
    profile: str | None = None
    preferred_chain: str | None = None
    replaces: str | None = None

    def request(self, order_url: str | None = None, *, finalized: bool = False) -> IssueRequest:
        return IssueRequest(
            names=self.names,
            csr_der=x509.CertKey.of(self.privkey).csr(self.names),
            finalized=finalized,
            profile=self.profile,
            preferred_chain=self.preferred_chain,
            order_url=order_url,
            replaces=self.replaces,
        )

    def check(self, fullchain: bytes) -> Leaf:
        return x509.check(Bundle(fullchain=fullchain, privkey=self.privkey), self.names, now())


@dataclass
class Worker:
    """A process that issues: its issuer, and the switch that stops it."""

    ca: CertificateAuthority
    memory: Memory = field(default_factory=Memory)
    holder: AccountOwner = field(default_factory=lambda: AccountOwner(email="ops@knit.example"))
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        site = Site(name="acme", directory=self.ca.directory_url, ca_files=(str(self.ca.ca_file),), holder=self.holder)
        self.issuer = AcmeIssuer(site, self.memory, self.memory, now, self.sleep)

    def issue(self, wanted: Wanted, notes: Notes, prover: Prover, order_url: str | None = None) -> bytes:
        """One certificate; no connection outlives it, as in a process that ends."""
        try:
            return self.issuer.issue(wanted.request(order_url), notes, prover)
        finally:
            self.issuer.close()

    def sleep(self, seconds: float) -> None:
        """Raises as soon as the process is told to stop."""
        if self.stopped.wait(seconds):
            message = "told to stop"
            raise Interrupted(message)
