"""A centre to measure: real servers, the Procfile's two workers, and many certificates at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import processes
from bench.timing import started
from knit.app.queue import open_queue
from knit.queue import messages
from knit.queue.base import Queue
from rig.installation import Installation
from rig.knot import Knot
from rig.postgres import Postgres
from rig.process import Process, RigError, wait_until
from rig.valkey import Valkey

ZONES = tuple(f"zone{number}.example" for number in range(100))
"""Many, because the DNS server lets an update wait for a second that meets another one in its zone."""

BY_DNS_UPDATE = "dnsupdate"
LOOK_EVERY = 0.05
HEARTBEATS = "dramatiq:__heartbeats__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What publishing some certificates took: seconds on the clock and of the workers' processors, per certificate."""

    wall: float
    cpu: float


@dataclass(slots=True, kw_only=True)
class Centre:
    """One installation with both of its workers running."""

    installation: Installation
    knot: Knot
    queue: Queue
    renewing: tuple[Process, ...]
    publishing: Process
    connection: psycopg.Connection[tuple[int]]
    _names: int = 0

    def run(self, count: int, *, seconds: float = 120, meanwhile: Callable[[], None] = lambda: None) -> Run:
        """List so many certificates and publish them in one pass; `meanwhile` is called while they are under way."""
        goal = self._published() + count
        self._list(count)
        leaders = [process.pid for process in (*self.renewing, self.publishing)]
        cpu, began = processes.cpu(*leaders), time.monotonic()
        self.queue.send(messages.reconcile())

        def done() -> bool:
            time.sleep(LOOK_EVERY)
            meanwhile()
            return self._published() >= goal

        try:
            wait_until(done, f"{count} certificates published", seconds=seconds)
        except RigError as late:
            raise RigError(f"{late}; the workers said: {self.installation.logs()[-1000:]}") from None
        wall = time.monotonic() - began
        return Run(wall=wall / count, cpu=(processes.cpu(*leaders) - cpu) / count)

    def memory(self) -> int:
        """Bytes that the renewing workers themselves have in RAM: not what starts and watches them."""
        return sum(max(map(processes.resident, processes.session(process.pid))) for process in self.renewing)

    def _list(self, count: int) -> None:
        """Rows as any other software may write them."""
        names = [name_of("n", number) for number in range(self._names, self._names + count)]
        self._names += count
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
                "values (%s, %s, %s, %s, %s)",
                [(name, BY_DNS_UPDATE, f"certs:{name}", f"/tls/{name}.crt", f"/tls/{name}.key") for name in names],
            )

    def _published(self) -> int:
        row = self.connection.execute("select count(*) from knit_issued where published_at is not null").fetchone()
        return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Where the centre's CA is."""

    directory_url: str
    ca_file: Path


@contextmanager
def centre(knot: Knot, authority: Authority, *, in_flight: int, workers: int = 1, **more: str) -> Iterator[Centre]:
    """Start it all, and end it all. So many renewing workers have as many certificates in flight together."""
    postgres, certificates, queue = Postgres(), Valkey(), Valkey()
    with started(postgres, certificates, queue), ExitStack() as opened:
        settings = {
            "KNIT_DB_URL": postgres.create_database("bench"),
            "KNIT_VALKEY_URL": certificates.url,
            "KNIT_QUEUE_URL": queue.url,
            "KNIT_ACME_DIRECTORY": authority.directory_url,
            "KNIT_ACME_CA_FILE": str(authority.ca_file),
            "KNIT_RENEW_CONCURRENCY": str(in_flight // workers),
            **dns(knot),
            **more,
        }
        installation = opened.enter_context(Installation(settings=settings))
        renewing = tuple(installation.start("worker-renew") for _ in range(workers))
        publishing = installation.start("worker-control")
        connection = opened.enter_context(psycopg.connect(settings["KNIT_DB_URL"], autocommit=True))
        wait_until(lambda: _is_ready(installation, queue), "both workers ready", seconds=30)
        sending = open_queue(queue.url)
        opened.callback(sending.close)
        yield Centre(
            installation=installation,
            knot=knot,
            queue=sending,
            renewing=renewing,
            publishing=publishing,
            connection=connection,
        )


def name_of(prefix: str, number: int) -> str:
    """A name in one of the zones, its neighbours in others."""
    return f"{prefix}{number}.{ZONES[number % len(ZONES)]}"


def dns(knot: Knot) -> Mapping[str, str]:
    """The settings of `dnsupdate` for this server; what it has taken is taken to be visible."""
    return {
        "KNIT_DNS_RESOLVERS": knot.address,
        "KNIT_DNS_PROPAGATION_WAIT": "0",
        "DNSUPDATE_NAMESERVER": knot.address,
        "DNSUPDATE_TSIG_KEY": knot.key.name,
        "DNSUPDATE_TSIG_SECRET": knot.key.secret,
        "DNSUPDATE_TSIG_ALGORITHM": f"{knot.key.algorithm}.",
    }


def _is_ready(installation: Installation, queue: Valkey) -> bool:
    """Each worker process has been heard of at the queue, which comes after all else of its start."""
    with queue.client() as client:
        return int(client.zcard(HEARTBEATS)) >= len(installation.processes)
