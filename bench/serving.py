"""knit status over 200 nodes with 1,000 certificates each, and the collection of their reports, held to the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg

from bench.figures import Figure
from bench.timing import median, started
from knit.app.collecting import collecting
from knit.core import report
from knit.core.model.deployed import Deployed
from knit.core.report import LAPSE, Head
from knit.core.served import Spread
from knit.store.database import Database
from knit.store.served.book import ServedBook
from knit.valkey.connect import Link, connect
from knit.valkey.layout import Layout
from rig.fleet import Fleet, key_of, name_of
from rig.postgres import Postgres
from rig.process import RigError
from rig.valkey import Valkey

NODES, CERTIFICATES = 200, 1000
TURNS = 300
ROUNDS = 5
SECONDS = 1.0
READ = "select count(*), count(*) filter (where done) from knit_served group by key"
SILENCED = "update knit_nodes set last_report = now() - interval '1 hour' where name = any(%s)"
LIST = """
insert into knit_certs (id, domains, provider, valkey_key, cert_path, key_path, names_key, names)
select n, d, 'exec', 'certs:' || n, '/' || n || '.crt', '/' || n || '.key', d, array[d]
from generate_series(1, %(count)s) n, lateral (select 'host' || n || '.knit.example' as d) names
"""
PUBLISHED = """
insert into knit_issued (cert_id, names_key, issuer, directory, key_type, serial, ari_id, not_before, not_after,
    issued_at, sha256, generation, valkey_key, cert_path, key_path, published_at)
select id, names_key, 'acme', 'https://ca.example', 'ec256', '1', 'a.b', now(), now() + interval '90 days', now(),
    repeat('0', 64), g.generation, valkey_key, cert_path, key_path, now()
from knit_certs join unnest(%(generations)s::bigint[]) with ordinality g (generation, n) on g.n = id
"""


def measure() -> list[Figure]:
    """All reports are recorded first; then none has changed, then one of all certificates."""
    postgres, valkey = Postgres(), Valkey()
    fleet = Fleet(NODES, CERTIFICATES, Random(11))
    fleet.turns(TURNS)
    with started(postgres, valkey), ExitStack() as opened:
        url = postgres.create_database("bench")
        database = opened.enter_context(Database.open(url))
        connection = opened.enter_context(psycopg.connect(url, autocommit=True))
        link = connect(valkey.url, name="knit-bench")
        opened.callback(link.close)
        connection.execute(LIST, {"count": CERTIFICATES})
        connection.execute(PUBLISHED, {"generations": [fleet.generation[one] for one in fleet.certificates]})
        collect = collecting(valkey.url, Layout().index, database)
        for node in fleet.nodes:
            _reported(link, name_of(node), [fleet.says(node, one) for one in fleet.certificates])
        first = _timed(collect.run)
        connection.execute("vacuum analyze")
        names = [name_of(node) for node in fleet.silent]
        connection.execute(
            "update knit_nodes set last_report = now() - interval '1 hour' where name = any(%s)", [names]
        )
        unchanged = median([_timed(collect.run) for _ in range(ROUNDS)])
        _is_exact(fleet, ServedBook(database).spreads(most=CERTIFICATES))
        spent = [(_status(url, valkey.url), _timed(lambda: connection.execute(READ).fetchall())) for _ in range(ROUNDS)]
        _reported(link, name_of(0), [fleet.says(0, 1)])
        one = _timed(collect.run)
    mine, bare = (median([turn[which] for turn in spent]) for which in (0, 1))
    what = f"knit status over {NODES} nodes with {CERTIFICATES:,} certificates each"
    return [
        Figure.of_times(f"{what} / one count over what they serve", mine, bare),
        Figure(what=what, ours=f"{mine:.2f} s", number=mine, goal=SECONDS, unit="s"),
        Figure.of_times("reports of which none has changed / all of them for the first time", unchanged, first, 0.02),
        Figure(what="reports of which one has changed", ours=f"{1000 * one:.0f} ms"),
    ]


def _reported(link: Link, name: str, certificates: Iterable[Deployed]) -> None:
    """As the node writes it: what is there of other parts stays."""
    parts: dict[int, list[Deployed]] = {}
    for one in certificates:
        parts.setdefault(report.part_of(one.key), []).append(one)
    written = {number: report.part_to_wire(some) for number, some in parts.items()}
    digests = {number: report.digest(raw) for number, raw in written.items()}
    head = Head(name=name, knit="bench", at=datetime.now(UTC), interval=timedelta(minutes=10), parts=digests)
    fields: dict[Any, Any] = {str(number): raw for number, raw in written.items()} | {"head": report.head_to_wire(head)}
    with link.talking() as client:
        client.hset(Layout().report(name), mapping=fields)
        client.pexpire(Layout().report(name), LAPSE * head.interval)


def _is_exact(fleet: Fleet, spreads: Iterable[Spread]) -> None:
    found = {(one.node, spread.current.key): one.standing.value for spread in spreads for one in spread.behind}
    true = {(name_of(node), key_of(one)): what for node, one, what in fleet.behind()}
    if found != true:
        raise RigError(f"{len(found.items() ^ true.items())} of {NODES * CERTIFICATES} answers are wrong")


def _status(url: str, valkey_url: str) -> float:
    environment = {**os.environ, "KNIT_DB_URL": url, "KNIT_VALKEY_URL": valkey_url}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "knit", "status"], env=environment, capture_output=True, check=False)
    spent = time.monotonic() - began
    if done.returncode != 1 or b"certificates are served" not in done.stdout:
        raise RigError(f"knit status: {done.stderr.decode()[-500:]}")
    return spent


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
