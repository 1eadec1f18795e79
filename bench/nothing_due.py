"""A pass of which nothing is due, against the bare statements that it needs and one more round trip."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import psycopg
import redis

from bench import processes
from bench.figures import Figure
from bench.many import ALLOWED, MANY, TERMS, in_place
from bench.timing import median, started
from knit.app.listeners import to_log
from knit.app.published import published_side
from knit.core.model.decision import Rules
from knit.flows.move import Move
from knit.flows.publish import Publish
from knit.flows.reconcile import Reconcile
from knit.flows.room import Room
from knit.flows.values import Values
from knit.store.accounts.issuers import IssuerMemory
from knit.store.budget.budgets import Budgets
from knit.store.database import Cursor, Database, Source
from knit.store.leases.leases import Leases
from knit.store.passes.passes import Passes
from knit.store.publications.installation import Installations
from knit.valkey import scripts
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from knit.valkey.staging import ValkeyStaging
from rig.postgres import Postgres
from rig.valkey import Valkey

ROUNDS = 9
COUNTS = (MANY, 100_000)
GOAL = 3
DEEP_MEMORY = 250

T = TypeVar("T")


def measure() -> list[Figure]:
    """The rounds alternate. The deep pass, which reads every value, runs once a day."""
    return [figure for count in COUNTS for figure in _of(count)]


def _of(count: int) -> list[Figure]:
    postgres, valkey = Postgres(), Valkey()
    with started(postgres, valkey), ExitStack() as opened:
        url = postgres.create_database("bench")
        database = opened.enter_context(Recording.open(url, connections=2))
        connection = opened.enter_context(psycopg.connect(url, autocommit=True))
        client = redis.Redis.from_url(valkey.url)
        opened.callback(client.close)
        a_pass = _pass(database, valkey.url, opened)
        in_place(database, connection, valkey.url, count)
        assert a_pass(deep=False) == 0
        # As autovacuum leaves the tables within a minute of such a change.
        connection.execute("vacuum analyze")
        bare = _bare(database, a_pass, connection, client)
        return [_compared(count, a_pass, bare), _deep_memory(count, url, valkey.url)]


def _deep_memory(count: int, url: str, valkey_url: str) -> Figure:
    command = [sys.executable, "-m", "bench.nothing_due", url, valkey_url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mib = float(done.stdout)
    what = f"memory of a pass with a look at every value, {count:,} certificates"
    return Figure(what=what, ours=f"{mib:.0f} MiB", number=mib, goal=DEEP_MEMORY, unit="MiB")


def _deep(url: str, valkey_url: str) -> None:
    with ExitStack() as opened:
        database = opened.enter_context(Database.open(url, connections=2))
        assert _pass(database, valkey_url, opened)(deep=True) == 0
    sys.stdout.write(f"{processes.highest():.1f}\n")


class Recording(Database):
    """Keeps what it was asked to run."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.statements: list[tuple[str, Mapping[str, object] | None]] = []

    def _run(self, take: Callable[[Cursor], T], statement: str, parameters: Mapping[str, object] | None) -> T:
        self.statements.append((statement, parameters))
        return super()._run(take, statement, parameters)


class Pass(Protocol):
    def __call__(self, *, deep: bool) -> int: ...


def _compared(count: int, ours: Pass, bare: Callable[[], int]) -> Figure:
    spent = [(_seconds(lambda: ours(deep=False)), _seconds(bare)) for _ in range(ROUNDS)]
    mine, needed = (median([turn[which] for turn in spent]) for which in (0, 1))
    what = f"pass with nothing due, {count:,} certificates / the bare statements it needs"
    return Figure.of_times(what, mine, needed, GOAL)


def _bare(
    database: Recording, a_pass: Pass, connection: psycopg.Connection[tuple[object, ...]], client: redis.Redis
) -> Callable[[], int]:
    """The statements of one pass, sent by nothing but the clients, whose answers nobody looks at."""
    database.statements.clear()
    assert a_pass(deep=False) == 0
    # Not the leases: whoever takes them again keeps them from the pass.
    statements = [one for one in database.statements if "knit_leases" not in one[0]]
    layout = Layout()
    survey = client.register_script(scripts.SURVEY)

    def run() -> int:
        for statement, parameters in statements:
            cursor = connection.execute(statement, parameters)
            if cursor.description:
                cursor.fetchall()
        survey(keys=[layout.index, layout.revision])
        client.ping()
        return 0

    return run


def _seconds(work: Callable[[], int]) -> float:
    began = time.monotonic()
    assert work() == 0, "nothing is due"
    return time.monotonic() - began


def _pass(database: Database, valkey_url: str, opened: ExitStack) -> Pass:
    """A whole pass as the actors run it: how many are due."""
    leases = Leases(database)
    opened.callback(leases.stop)
    link = connect(valkey_url, name="knit-bench")
    opened.callback(link.close)
    layout = Layout()
    passes, memory = Passes(database, ALLOWED), IssuerMemory(database)
    rules = Rules(issuers=(TERMS,))
    side = published_side(link, layout, passes, Installations(database))
    publication, belonging = side.publication, side.belonging
    values = Values(store=passes, home=belonging.home, publication=publication, rules=rules, clock=_now, tell=to_log)
    reconcile = Reconcile(
        store=passes,
        memory=memory,
        publication=publication,
        belonging=belonging,
        values=values,
        room=Room(store=Budgets(database), clock=_now),
        rules=rules,
        clock=_now,
    )
    publish = Publish(
        store=passes,
        leases=leases,
        staging=ValkeyStaging(link, layout, belonging.id),
        publication=publication,
        belonging=belonging,
        move=Move(installation=belonging.id, store=passes, publication=publication, clock=_now, tell=to_log),
        prune=side.prune,
        clock=_now,
        tell=to_log,
    )

    def run(*, deep: bool) -> int:
        due = len(reconcile.run(deep=deep).renew)
        report = publish.everything()
        return due + len(report.published) + report.failed + report.pruned

    return run


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    _deep(*sys.argv[1:])
