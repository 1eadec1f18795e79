"""The command `knit renew --once` with nothing due, against psql reading the list."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack

import psycopg

from bench.centre import median
from bench.figures import Figure
from bench.many import ALLOWED, MANY, issued, listed, published
from knit.store.database import Database
from knit.store.passes.passes import Passes
from rig.installation import BIN, Installation
from rig.postgres import Postgres
from rig.process import MissingError
from rig.valkey import Valkey

ROUNDS = 7
FEW = 10
GOAL = 5


def measure() -> list[Figure]:
    """The first run of each, which fills caches, is not counted."""
    psql = shutil.which("psql")
    if psql is None:
        raise MissingError("psql is not installed")
    return [_of(count, psql) for count in (FEW, MANY)]


def _of(count: int, psql: str) -> Figure:
    with ExitStack() as opened:
        postgres, valkey = Postgres(), Valkey()
        for server in (postgres, valkey):
            opened.callback(server.close)
            server.start()
        url = postgres.create_database("bench")
        settings = {"KNIT_DB_URL": url, "KNIT_VALKEY_URL": valkey.url}
        installation = opened.enter_context(Installation(settings=settings))
        environment = installation.environment()
        once = [str(BIN / "knit"), "renew", "--once"]
        read = [psql, "--no-psqlrc", "--quiet", "--command", "select * from knit_certs", url]
        database = opened.enter_context(Database.open(url))
        with psycopg.connect(url, autocommit=True) as connection:
            listed(connection, count)
            Passes(database, ALLOWED).adopt()
            issued(connection)
            published(valkey.url, count, "/tls")
            connection.execute("vacuum analyze")
        spent = [(_seconds(once, environment), _seconds(read, environment)) for _ in range(ROUNDS + 1)]
    ours, theirs = (median([turn[which] for turn in spent[1:]]) for which in (0, 1))
    return Figure(
        what=f"`knit renew --once` with nothing due, {count:,} certificates / `psql` reading the list",
        ours=f"{ours * 1000:.0f} ms",
        baseline=f"{theirs * 1000:.0f} ms",
        number=ours / theirs,
        goal=GOAL,
    )


def _seconds(words: list[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - began
