"""A store on a real PostgreSQL, with a few threads' worth of connections."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.digest import pair_digest
from knit.core.model.attempt import Attempt, Ready
from knit.core.model.certificate import Bundle, CertId, CertSpec, Issued, Leaf
from knit.core.model.decision import Known, Reason, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.model.keys import KeyType
from knit.core.renewal import NOT_DUE
from knit.core.value import Parcel
from knit.core.wanted import Change, ListRules
from knit.flows.edit_list import EditList
from knit.ports.leases import Lease
from knit.store.database import Database
from knit.store.journal.attempts import Attempts
from knit.store.journal.holding import Holding, load
from knit.store.leases.leases import Leases
from knit.store.list.certs import Certs
from knit.store.passes.passes import Passes
from knit.store.publications.installation import Installations
from knit.valkey.layout import Layout
from rig.postgres import Postgres

DIRECTORY = "https://ca.example/directory"
TABLES = "select tablename as name from pg_tables where tablename ~ '^knit_' and tablename !~ 'migrations'"
TERMS = Terms(name="acme", directory=DIRECTORY)
RULES = Rules(issuers=(TERMS,))
ALLOWED = ListRules(issuers=(TERMS.name,), reserved=Layout().reserved)
BUNDLE = Bundle(fullchain=b"chain", privkey=b"key")
SHA256 = pair_digest(BUNDLE.fullchain, BUNDLE.privkey)
LEAF = Leaf(
    names=frozenset({"host1.example.org"}),
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2100, 1, 1, tzinfo=UTC),
    serial="01",
    ari_id="a.b",
    spki_sha256="ab",
)


def new_cert(number: int = 1, *names: str) -> Change:
    """A certificate that clashes with none of another number."""
    return Change(
        names=names or (f"host{number}.example.org",),
        provider="exec",
        valkey_key=f"certs/{number}",
        cert_path=f"/etc/ssl/{number}.crt",
        key_path=f"/etc/ssl/{number}.key",
    )


def issued_for(spec: CertSpec, attempt: Attempt | None = None, *, generation: int = 1) -> Issued:
    """Facts of a certificate issued just now."""
    now = datetime.now(UTC)
    return Issued(
        cert_id=spec.id,
        names_key=spec.names_key,
        issuer=spec.issuer,
        directory=DIRECTORY,
        key_type=spec.key_type or KeyType.EC256,
        profile=spec.profile,
        preferred_chain=spec.preferred_chain,
        serial="01",
        ari_id="a.b",
        not_before=now,
        not_after=now + timedelta(days=90),
        issued_at=now if attempt is None else attempt.started_at,
        sha256=SHA256,
        generation=generation,
        valkey_key=spec.valkey_key,
        cert_path=spec.cert_path,
        key_path=spec.key_path,
    )


class Store:
    """All parts of the store over one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.certs = Certs(database, lambda: ALLOWED)
        self.list = EditList(store=self.certs, known=str, allowed=ALLOWED)
        self.passes = Passes(database, ALLOWED)
        self.home = Installations(database)
        self.leases = Leases(database)
        self.holding = Holding(database, self.leases)
        self.attempts = Attempts(database, self.leases)

    def add(self, number: int = 1, *names: str) -> CertSpec:
        """Add and adopt a certificate."""
        added = self.list.add(new_cert(number, *names))
        self.passes.adopt()
        return self.spec(added.id)

    def spec(self, cert_id: CertId) -> CertSpec:
        """What is wanted of a certificate that is there."""
        spec = self.load(cert_id).spec
        assert spec is not None
        return spec

    def adopted(self) -> list[CertSpec]:
        """Every enabled certificate that a pass has adopted."""
        rows = self.database.rows("select id from knit_certs where enabled and names_key is not null order by id")
        return [self.spec(CertId(row["id"])) for row in rows]

    def load(self, cert_id: CertId) -> Known:
        """All that is known."""
        return load(self.database, cert_id)

    def begin(self, lease: Lease | None, spec: CertSpec, reason: Reason = Reason.NEVER_ISSUED) -> Attempt:
        """Another attempt."""
        assert lease is not None
        newest = self.load(spec.id).newest
        return self.attempts.begin(lease, spec, reason, TERMS.asked(spec), "ab", newest=newest)

    def hand_over(self, lease: Lease | None, attempt: Attempt) -> None:
        """Its bundle waits."""
        assert lease is not None
        self.attempts.hand_over(lease, attempt, LEAF, SHA256)

    def parcel(self, spec: CertSpec, attempt: Attempt, *, generation: int = 1) -> Parcel:
        """What a worker would publish."""
        issued = issued_for(spec, attempt, generation=generation)
        ready = Ready(attempt=attempt, spec=spec, issued=None, leaf=LEAF, sha256=SHA256, generation=None)
        return Parcel.of(ready, BUNDLE, issued, installation="test", replaces="")

    def publish(self, spec: CertSpec, *, generation: int = 1) -> Issued:
        """Take a certificate all the way to published, as the worker does."""
        with self.leases.hold(f"cert:{spec.id}") as lease:
            attempt = self.begin(lease, spec)
            self.hand_over(lease, attempt)
        parcel = self.parcel(spec, attempt, generation=generation)
        assert self.passes.publishing([parcel]) == [parcel]
        self.passes.record_published([parcel])
        return parcel.issued

    def candidate_ids(self, *unpublished: str, rules: Rules = RULES) -> list[CertId]:
        """Who may be due."""
        return [candidate.cert_id for candidate in self.passes.candidates(rules, unpublished)]

    def plan(self, spec: CertSpec) -> None:
        """Nothing to do about it for a month."""
        self.holding.looked(spec.id, RULES, Wait(until=datetime.now(UTC) + timedelta(days=30), reason=NOT_DUE))

    def expire(self, name: str) -> None:
        """Let a lease run out now, as if its owner had gone quiet."""
        self.database.write("update knit_leases set expires_at = now() where name = %(name)s", {"name": name})


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """One database with knit's tables for all tests of this folder: making one costs more than most of them."""
    url = postgres.create_database("store")
    Database.open(url).close()
    return url


@pytest.fixture
def store(migrated: str) -> Iterator[Store]:
    """The store on empty tables."""
    with Database.open(migrated, connections=4) as database:
        tables = [row["name"] for row in database.rows(TABLES)]
        database.write(f"truncate {', '.join(tables)} restart identity")
        made = Store(database)
        yield made
        made.leases.stop()
