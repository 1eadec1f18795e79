"""CPU per certificate: our issuer against a plain loop over the `acme` library, on the same Pebble in the same run.

Both make a fresh P-256 key and request, order, answer, poll by their own short waits, finalize, download and parse.
The CA validates without looking, so that neither pays for DNS. The rounds alternate.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.figures import Figure
from bench.plain_acme import Plain
from knit.core import x509
from knit.core.model.account import Account
from knit.core.model.attempt import IssueRequest
from knit.core.model.certificate import Bundle
from knit.core.model.challenge import Challenge, ChallengeId, Record
from knit.core.model.issuer import UNNAMED
from knit.core.model.keys import KeyType
from knit.issuers.acme import AcmeIssuer, Site
from rig.pebble import Pebble, PebbleOptions

ROUNDS = 7
CERTIFICATES = 60
GOAL = 0.35

Issue = Callable[[str], None]


class Ours:
    """The issuer as a worker uses it."""

    def __init__(self, pebble: Pebble) -> None:
        site = Site(name=UNNAMED, directory=pebble.directory_url, ca_files=(str(pebble.ca_file),))
        party = Party()
        self._issuer = AcmeIssuer(site, party, party, lambda: datetime.now(UTC), time.sleep)
        self._party = party

    def issue(self, name: str) -> None:
        key = x509.CertKey.new(KeyType.EC256)
        request = IssueRequest(names=(name,), csr_der=key.csr((name,)))
        chain = self._issuer.issue(request, self._party, self._party)
        x509.check(Bundle(fullchain=chain, privkey=key.pem), (name,), datetime.now(UTC), key)


@dataclass
class Party:
    """Accounts, leases, journal and prover that cost nothing."""

    kept: Account | None = None
    held: threading.Lock = field(default_factory=threading.Lock)
    name: str = ""
    epoch: int = 1
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def check(self) -> None: ...

    def get(self, directory: str, issuer: str) -> Account | None:
        return self.kept

    def save(self, account: Account) -> None:
        self.kept = account

    def change_key(self, account: Account) -> bool:
        raise AssertionError(account)

    def contact(self, account: Account, email: str) -> None:
        raise AssertionError(email)

    def original(self) -> Account | None:
        return None

    @contextmanager
    def hold(self, name: str) -> Iterator[Party | None]:
        with self.held:
            yield self if name else None

    def having(self, _lock: str) -> AbstractContextManager[None]:
        return nullcontext()

    def rounds(self, challenges: Sequence[Challenge]) -> Sequence[Sequence[Challenge]]:
        return [challenges]

    @contextmanager
    def proving(self, challenges: Sequence[Challenge]) -> Iterator[None]:
        assert challenges
        yield

    def presenting(self, record: Record) -> ChallengeId:
        return ChallengeId(len(record.value))

    def ordered(self, order_url: str, expires: datetime | None = None) -> None: ...
    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None: ...
    def removed(self, challenge: ChallengeId) -> None: ...
    def unordered(self) -> None:
        """See ports.Journal."""

    def unreplaced(self, why: str) -> None: ...
    def finalizing(self) -> None: ...
    def shares_proofs(self) -> bool:
        return False


def measure() -> list[Figure]:
    """Alone, and with four in flight as a worker has them."""
    return [compare(in_flight) for in_flight in (1, 4)]


def compare(in_flight: int, rounds: int = ROUNDS, certificates_each: int = CERTIFICATES) -> Figure:
    """Alternate both on one CA; the first certificates of each (account, connections) are not counted."""
    options = PebbleOptions(always_valid=True, nonce_reject_percent=0, retry_after_authz=0, retry_after_order=0)
    pebble = Pebble(options)
    pebble.start()
    try:
        ways: dict[str, Issue] = {"plain": Plain(pebble).issue, "ours": Ours(pebble).issue}
        spent: dict[str, list[float]] = {name: [] for name in ways}
        with ThreadPoolExecutor(in_flight) as threads:
            for turn in range(rounds + 1):
                for name, issue in ways.items():
                    names = [f"{name}{turn}-{number}.knit.example" for number in range(certificates_each)]
                    before = time.process_time()
                    list(threads.map(issue, names))
                    spent[name].append((time.process_time() - before) * 1000 / certificates_each)
    finally:
        pebble.close()
    plain, ours = (statistics.median(spent[name][1:]) for name in ("plain", "ours"))
    return Figure(
        what=f"CPU per certificate: the ACME part alone, {in_flight} in flight / plain loop over `acme`",
        ours=f"{ours:.1f} ms",
        baseline=f"{plain:.1f} ms",
        number=ours / plain,
        goal=GOAL,
    )
