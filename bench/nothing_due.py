"""A pass over 10,000 certificates of which none is due, against one read of the list and one GET for each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Protocol

import psycopg
import redis

from bench.centre import median
from bench.figures import Figure
from bench.many import MANY, issued, listed, published
from knit.core.model import Policy
from knit.flows.publish import Publish
from knit.flows.reconcile import Reconcile
from knit.flows.values import Values
from knit.settings.table import LETS_ENCRYPT
from knit.store.database import Database
from knit.store.installation import Installations
from knit.store.issuers import IssuerMemory
from knit.store.leases import Leases
from knit.store.passes import Passes
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from knit.valkey.staging import ValkeyStaging
from tests.rig.postgres import Postgres
from tests.rig.valkey import Valkey
from workers.wiring import published_side

ROUNDS = 5
THRESHOLD = timedelta(days=30)


def measure() -> list[Figure]:
    """The rounds alternate. The deep pass, which reads every value, runs once a day."""
    with ExitStack() as opened:
        postgres, valkey = Postgres(), Valkey()
        for server in (postgres, valkey):
            opened.callback(server.close)
            server.start()
        url = postgres.create_database("bench")
        database = opened.enter_context(Database.open(url, connections=2))
        connection = opened.enter_context(psycopg.connect(url, autocommit=True))
        client = redis.Redis.from_url(valkey.url)
        opened.callback(client.close)
        a_pass = _pass(database, valkey, opened)
        listed(connection, MANY)
        published(valkey.url, MANY, "/tls")
        Passes(database, Layout().reserved).adopt()
        issued(connection)
        assert a_pass(deep=False) == 0
        # As autovacuum leaves the tables within a minute of such a change.
        connection.execute("vacuum analyze")
        return _compared(a_pass, lambda: _naive(connection, client))


class Pass(Protocol):
    def __call__(self, *, deep: bool) -> int: ...


def _compared(ours: Pass, naive: Callable[[], int]) -> list[Figure]:
    spent = [(_seconds(lambda: ours(deep=False)), _seconds(naive)) for _ in range(ROUNDS)]
    deep = _seconds(lambda: ours(deep=True))
    mine, theirs = (median([turn[which] for turn in spent]) for which in (0, 1))
    return [
        Figure(
            what=f"pass with nothing due, {MANY:,} certificates / one read and one GET each",
            ours=f"{mine * 1000:.1f} ms",
            baseline=f"{theirs * 1000:.0f} ms",
            number=mine / theirs,
            goal=1 / 50,
        ),
        Figure(
            what="the same pass with a look at every value (once a day)",
            ours=f"{deep * 1000:.0f} ms",
            baseline=f"{theirs * 1000:.0f} ms",
            number=deep / theirs,
        ),
    ]


def _seconds(work: Callable[[], int]) -> float:
    began = time.monotonic()
    assert work() == 0, "nothing is due"
    return time.monotonic() - began


def _pass(database: Database, valkey: Valkey, opened: ExitStack) -> Pass:
    """A whole pass as the actors run it: how many are due."""
    leases = Leases(database)
    opened.callback(leases.stop)
    link = connect(valkey.url, name="knit-bench")
    opened.callback(link.close)
    layout = Layout()
    passes, memory, policy = Passes(database, layout.reserved), IssuerMemory(database), Policy(directory=LETS_ENCRYPT)
    side = published_side(link, layout, passes, Installations(database))
    publication, belonging = side.publication, side.belonging
    values = Values(store=passes, home=belonging.home, publication=publication, policy=policy, clock=_now)
    reconcile = Reconcile(
        store=passes,
        memory=memory,
        publication=publication,
        belonging=belonging,
        values=values,
        policy=policy,
        clock=_now,
    )
    publish = Publish(
        store=passes,
        leases=leases,
        staging=ValkeyStaging(link, layout, belonging.id),
        publication=publication,
        belonging=belonging,
        prune=side.prune,
        clock=_now,
    )

    def run(*, deep: bool) -> int:
        due = len(reconcile.run(deep=deep).renew)
        report = publish.everything()
        return due + len(report.published) + report.failed + report.pruned

    return run


def _naive(connection: psycopg.Connection[tuple[object, ...]], client: redis.Redis) -> int:
    """How many are due by their published value."""
    soon = _now() + THRESHOLD
    due = 0
    for row in connection.execute("select * from knit_certs where enabled").fetchall():
        value = json.loads(client.get(str(row[3])) or b"{}")
        due += datetime.fromisoformat(value["not_after"]) < soon
    return due


def _now() -> datetime:
    return datetime.now(UTC)
