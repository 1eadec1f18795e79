"""The command `knit renew --once` with nothing due, against psql reading the list.

With few certificates there is no list to speak of: what is measured then is how Python starts, so the least that the
two clients take is shown beside it, and neither has a goal.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack

import psycopg

from bench.figures import Figure
from bench.many import MANY, in_place
from bench.timing import alternating, started
from knit.store.database import Database
from rig.installation import BIN, Installation
from rig.postgres import Postgres
from rig.process import MissingError
from rig.valkey import Valkey

ROUNDS = 7
FEW = 10
GOAL = 5
CLIENTS = "import psycopg, redis"


def measure() -> list[Figure]:
    """The rounds alternate."""
    psql = shutil.which("psql")
    if psql is None:
        raise MissingError("psql is not installed")
    once, clients, read = _of(FEW, psql)
    many, _, long_read = _of(MANY, psql)
    return [
        _figure(MANY, many, long_read, GOAL),
        _figure(FEW, once, read),
        Figure.of_times(f'of that `python -c "{CLIENTS}"` alone / the same', clients, read),
    ]


def _of(count: int, psql: str) -> list[float]:
    postgres, valkey = Postgres(), Valkey()
    with started(postgres, valkey), ExitStack() as opened:
        url = postgres.create_database("bench")
        settings = {"KNIT_DB_URL": url, "KNIT_VALKEY_URL": valkey.url}
        installation = opened.enter_context(Installation(settings=settings))
        database = opened.enter_context(Database.open(url))
        with psycopg.connect(url, autocommit=True) as connection:
            in_place(database, connection, valkey.url, count)
            connection.execute("vacuum analyze")
        ways = [
            [str(BIN / "knit"), "renew", "--once"],
            [sys.executable, "-c", CLIENTS],
            [psql, "--no-psqlrc", "--quiet", "--command", "select * from knit_certs", url],
        ]
        return alternating(ways, installation.environment(), ROUNDS)


def _figure(count: int, ours: float, theirs: float, goal: float | None = None) -> Figure:
    what = f"`knit renew --once` with nothing due, {count:,} certificates / `psql` reading the list"
    return Figure.of_times(what, ours, theirs, goal)
