"""CPU per certificate: our issuer against a plain loop over the `acme` library, on the same Pebble in the same run.

Both make a fresh P-256 key and request, order, answer, poll by their own short waits, finalize, download and parse.
The CA validates without looking, so that neither pays for DNS. The rounds alternate.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import josepy
from acme import challenges, client, crypto_util, messages
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from knit.core import x509
from knit.core.model import Account, Bundle, Challenge, ChallengeId, IssueRequest, KeyType, Record
from knit.issuers.acme import AcmeIssuer, Site
from tests.rig.pebble import Pebble, PebbleOptions

ROUNDS = 5
CERTIFICATES = 60
FIRST_WAIT = 0.015
ISSUANCE_WAIT = 0.02
GOAL = 0.35

Issue = Callable[[str], None]


class Plain:
    """The library as it comes, one client per thread, only its sleeping loops replaced."""

    def __init__(self, pebble: Pebble) -> None:
        self._pebble = pebble
        self._key = josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        self._account: messages.RegistrationResource | None = None
        self._threads = threading.local()
        self._account = self._client().new_account(
            messages.NewRegistration.from_data(email="ops@knit.example", terms_of_service_agreed=True)
        )

    def issue(self, name: str) -> None:
        acme = self._client()
        acme.net.account = self._account
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        order = acme.new_order(crypto_util.make_csr(key, [name]))
        for authorization in order.authorizations:
            self._prove(acme, authorization)
        order = acme.begin_finalization(order)
        certificates.load_pem_x509_certificates(self._collect(acme, order).encode())

    def _prove(self, acme: client.ClientV2, authorization: messages.AuthorizationResource) -> None:
        body = next(c for c in authorization.body.challenges if isinstance(c.chall, challenges.DNS01))
        acme.answer_challenge(body, body.chall.response(self._key))
        wait = FIRST_WAIT
        while authorization.body.status != messages.STATUS_VALID:
            time.sleep(wait)
            authorization, _ = acme.poll(authorization)
            wait *= 2

    def _collect(self, acme: client.ClientV2, order: messages.OrderResource) -> str:
        wait = ISSUANCE_WAIT
        while True:
            time.sleep(wait)
            body = messages.Order.from_json(acme._post_as_get(order.uri).json())  # noqa: SLF001 - it has no public way
            if body.status == messages.STATUS_VALID:
                return str(acme._post_as_get(body.certificate).text)  # noqa: SLF001
            wait *= 2

    def _client(self) -> client.ClientV2:
        found: client.ClientV2 | None = getattr(self._threads, "client", None)
        if found is None:
            network = client.ClientNetwork(self._key, alg=josepy.ES256, verify_ssl=str(self._pebble.ca_file))  # type: ignore[arg-type]  # a path works
            directory = client.ClientV2.get_directory(self._pebble.directory_url, network)
            found = self._threads.client = client.ClientV2(directory, network)
        return found


class Ours:
    """The issuer as a worker uses it."""

    def __init__(self, pebble: Pebble) -> None:
        site = Site(directory=pebble.directory_url, ca_files=(str(pebble.ca_file),))
        party = Party()
        self._issuer = AcmeIssuer(site, party, party, lambda: datetime.now(UTC), time.sleep)
        self._party = party

    def issue(self, name: str) -> None:
        key = x509.new_key(KeyType.EC256)
        request = IssueRequest(names=(name,), csr_der=x509.csr(key, (name,)))
        chain = self._issuer.issue(request, self._party, self._party)
        x509.check(Bundle(fullchain=chain, privkey=key), (name,), datetime.now(UTC))


@dataclass
class Party:
    """Accounts, leases, journal and prover that cost nothing."""

    kept: Account | None = None
    held: threading.Lock = field(default_factory=threading.Lock)
    name: str = ""
    epoch: int = 1

    def check(self) -> None: ...

    def get(self, directory: str, issuer: str) -> Account | None:
        return self.kept

    def save(self, account: Account) -> None:
        self.kept = account

    def original(self) -> Account | None:
        return None

    @contextmanager
    def hold(self, name: str) -> Iterator[Party | None]:
        with self.held:
            yield self if name else None

    @contextmanager
    def proving(self, challenges: Sequence[Challenge]) -> Iterator[None]:
        assert challenges
        yield

    def presenting(self, record: Record) -> ChallengeId:
        return ChallengeId(len(record.value))

    def ordered(self, order_url: str) -> None: ...
    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None: ...
    def removed(self, challenge: ChallengeId) -> None: ...
    def validated(self) -> None: ...
    def finalizing(self) -> None: ...
    def issued(self, certificate_url: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Milliseconds of our CPU per certificate and the ratio to the baseline, medians over the rounds."""

    in_flight: int
    plain: float
    ours: float

    @property
    def ratio(self) -> float:
        return self.ours / self.plain


def measure(in_flight: int, rounds: int = ROUNDS, certificates_each: int = CERTIFICATES) -> Figure:
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
    return Figure(in_flight=in_flight, plain=plain, ours=ours)


def main() -> int:
    """Print the table; exit code 1 when a ratio misses the goal."""
    figures = [measure(in_flight) for in_flight in (1, 4)]
    sys.stdout.write("CPU per certificate    plain acme    knit's issuer    ratio    goal\n")
    for figure in figures:
        row = f"{figure.in_flight} in flight            {figure.plain:7.1f} ms       {figure.ours:7.1f} ms"
        sys.stdout.write(f"{row}     {figure.ratio:5.2f}   {GOAL:5.2f}\n")
    return 0 if all(figure.ratio <= GOAL for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
