"""How long the command line takes to answer, against the bare interpreter."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import psycopg

from bench.figures import Figure
from bench.many import listed
from bench.timing import alternating, started
from rig.installation import BIN, Installation
from rig.postgres import Postgres

ROUNDS = 15
CERTIFICATES = 10


def measure() -> list[Figure]:
    """The rounds alternate."""
    postgres = Postgres()
    with started(postgres), ExitStack() as opened:
        url = postgres.create_database("bench")
        installation = opened.enter_context(Installation(settings={"KNIT_DB_URL": url}))
        installation.knit("list")
        with psycopg.connect(url, autocommit=True) as connection:
            listed(connection, CERTIFICATES)
        knit = str(BIN / "knit")
        ways = [[sys.executable, "-c", "pass"], [knit, "--help"], [knit, "list"]]
        bare, help_, list_ = alternating(ways, installation.environment(), ROUNDS)
    return [
        Figure.of_times("`knit --help` / `python -c pass`", help_, bare, 6),
        Figure.of_times("`knit list` / `python -c pass`", list_, bare, 20),
    ]
