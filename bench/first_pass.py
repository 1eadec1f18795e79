"""The first pass over 100,000 rows that other software wrote, against a plain read of them, and its memory."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import psycopg
import redis

from bench import processes
from bench.figures import Figure
from bench.many import ALLOWED, TERMS, listed
from bench.timing import median, started
from knit.app.listeners import to_log
from knit.app.published import published_side
from knit.core.model.decision import Rules
from knit.flows.reconcile import Reconcile
from knit.flows.room import Room
from knit.flows.values import Values
from knit.store.accounts.issuers import IssuerMemory
from knit.store.budget.budgets import Budgets
from knit.store.clock import ServerClock
from knit.store.database import Database
from knit.store.passes.passes import Passes
from knit.store.publications.installation import Installations
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from rig.postgres import Postgres
from rig.valkey import Valkey

COUNT = 100_000
ROUNDS = 3


def measure() -> list[Figure]:
    """The pass runs in a process of its own, after statistics were collected over a list that nobody had adopted."""
    postgres, valkey = Postgres(), Valkey()
    with started(postgres, valkey):
        rounds = [_round(postgres, valkey, f"bench{number}") for number in range(ROUNDS)]
    seconds, reads, memory = (median([each[part] for each in rounds]) for part in range(3))
    return [
        Figure(
            what=f"first pass over {COUNT:,} new rows / reading them",
            ours=f"{seconds:.2f} s",
            baseline=f"{reads:.2f} s",
            number=seconds / reads,
            goal=10,
        ),
        Figure(what="memory of that pass", ours=f"{memory:.0f} MiB", number=memory, goal=250, unit="MiB"),
    ]


def _round(postgres: Postgres, valkey: Valkey, name: str) -> tuple[float, float, float]:
    url = postgres.create_database(name)
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()  # It belongs to the database of the round before.
    Database.open(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        listed(connection, COUNT)
        connection.execute("analyze")
        began = time.monotonic()
        connection.execute("select * from knit_certs where enabled").fetchall()
        read = time.monotonic() - began
    command = [sys.executable, "-m", "bench.first_pass", url, valkey.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    postgres.drop_database(name)
    seconds, memory = done.stdout.split()
    return float(seconds), read, float(memory)


def _pass(url: str, valkey_url: str) -> None:
    layout, rules = Layout(), Rules(issuers=(TERMS,))
    with Database.open(url, connections=2) as database:
        link = connect(valkey_url, name="knit-bench")
        passes, clock = Passes(database, ALLOWED), ServerClock(database)
        side = published_side(link, layout, passes, Installations(database))
        here: dict[str, Any] = {"store": passes, "publication": side.publication, "rules": rules, "clock": clock}
        values = Values(home=side.belonging.home, tell=to_log, **here)
        memory, room = IssuerMemory(database), Room(store=Budgets(database), clock=clock)
        reconcile = Reconcile(memory=memory, belonging=side.belonging, values=values, room=room, **here)
        began = time.monotonic()
        assert len(reconcile.run().renew) == COUNT
        sys.stdout.write(f"{time.monotonic() - began} {processes.highest()}\n")


if __name__ == "__main__":
    _pass(*sys.argv[1:])
