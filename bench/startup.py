"""How long the command line takes to answer, against the bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

import psycopg

from bench.centre import median
from bench.figures import Figure
from bench.many import listed
from rig.installation import BIN, Installation
from rig.postgres import Postgres

ROUNDS = 15
CERTIFICATES = 10


def measure() -> list[Figure]:
    """The rounds alternate; the first one, which fills caches, is not counted."""
    with ExitStack() as opened:
        postgres = Postgres()
        opened.callback(postgres.close)
        postgres.start()
        url = postgres.create_database("bench")
        installation = opened.enter_context(Installation(settings={"KNIT_DB_URL": url}))
        installation.knit("list")
        with psycopg.connect(url, autocommit=True) as connection:
            listed(connection, CERTIFICATES)
        environment = installation.environment()
        ways = {
            "pass": [sys.executable, "-c", "pass"],
            "help": [str(BIN / "knit"), "--help"],
            "list": [str(BIN / "knit"), "list"],
        }
        spent = [{name: _seconds(words, environment) for name, words in ways.items()} for _ in range(ROUNDS + 1)]
    bare, help_, list_ = (median([turn[name] for turn in spent[1:]]) for name in ways)
    return [_figure("knit --help", help_, bare, 6), _figure("knit list", list_, bare, 20)]


def _figure(command: str, ours: float, bare: float, goal: float) -> Figure:
    return Figure(
        what=f"`{command}` / `python -c pass`",
        ours=f"{ours * 1000:.0f} ms",
        baseline=f"{bare * 1000:.0f} ms",
        number=ours / bare,
        goal=goal,
    )


def _seconds(words: list[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began
