"""A plan over 100,000 certificates, against the bare read of what it is made from."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime

import psycopg

from bench.figures import Figure
from bench.many import ALLOWED, TERMS, in_place
from bench.timing import median, started
from knit.core.model.decision import Rules
from knit.flows.plan import Planning
from knit.flows.room import Room
from knit.store.accounts.issuers import IssuerMemory
from knit.store.budget.budgets import Budgets
from knit.store.database import Database
from knit.store.passes.passes import Passes
from knit.store.publications.installation import Installations
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from rig.postgres import Postgres
from rig.valkey import Valkey

COUNT = 100_000
ROUNDS = 5
GOAL = 6
SECONDS = 3
READ = (
    "select c.*, s.check_at, s.retry_at, s.no_room from knit_certs c left join knit_schedule s on s.cert_id = c.id "
    "where c.enabled"
)


def measure() -> list[Figure]:
    """The rounds alternate: a plan of which nothing is due, and a plain read of the list and its schedule."""
    postgres, valkey = Postgres(), Valkey()
    with started(postgres, valkey), ExitStack() as opened:
        url = postgres.create_database("bench")
        database = opened.enter_context(Database.open(url))
        connection = opened.enter_context(psycopg.connect(url, autocommit=True))
        in_place(database, connection, valkey.url, COUNT)
        link = connect(valkey.url, name="knit-bench")
        opened.callback(link.close)
        rules, ours = Rules(issuers=(TERMS,)), Installations(database).known().id
        planning = Planning(
            installation=ours,
            store=Passes(database, ALLOWED),
            memory=IssuerMemory(database),
            publication=ValkeyPublication(link, Layout(), ours),
            room=Room(store=Budgets(database), clock=lambda: datetime.now(UTC)),
            rules=rules,
        )
        connection.execute(
            "update knit_schedule set check_at = now() + interval '40 days', policy = %s", [rules.fingerprint]
        )
        connection.execute("vacuum analyze")
        spent = [(_plan(planning), _read(connection)) for _ in range(ROUNDS)]
    mine, bare = (median([turn[which] for turn in spent]) for which in (0, 1))
    what = f"plan of a pass over {COUNT:,} certificates"
    return [
        Figure.of_times(f"{what} / reading the list and its schedule", mine, bare, GOAL),
        Figure(what=what, ours=f"{mine:.2f} s", number=mine, goal=SECONDS, unit="s"),
    ]


def _plan(planning: Planning) -> float:
    began = time.monotonic()
    assert len(planning.plan(datetime.now(UTC)).resting) == COUNT
    return time.monotonic() - began


def _read(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    began = time.monotonic()
    assert len(connection.execute(READ).fetchall()) == COUNT
    return time.monotonic() - began
