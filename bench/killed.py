"""How long the certificates of a killed worker wait: from the kill to the last publication."""

from __future__ import annotations

import time

from bench.centre import ZONES, Authority, Centre, centre
from bench.figures import Figure
from rig.knot import Knot
from rig.scripted_ca.client import ScriptedCA

CERTIFICATES = 8
DELAY_MS = 500
"""For each answer of the CA: the worker dies in the middle of its orders."""
GOAL = 45


def measure() -> list[Figure]:
    """Two renewing workers, of which one is killed once it has begun."""
    knot = Knot(*ZONES)
    try:
        knot.start()
        with ScriptedCA(delay_ms=DELAY_MS) as ca:
            authority = Authority(directory_url=ca.directory_url, ca_file=ca.ca_file)
            with centre(knot, authority, in_flight=CERTIFICATES, workers=2) as ours:
                ours.run(CERTIFICATES)
                seconds = _after_the_kill(ours)
    finally:
        knot.close()
    what = f"retaken and published after a worker with {CERTIFICATES // 2} certificates under way was killed"
    return [Figure(what=what, ours=f"{seconds:.0f} s", number=seconds, goal=GOAL, unit="s")]


def _after_the_kill(ours: Centre) -> float:
    killed: list[float] = []

    def kill() -> None:
        if not killed and _under_way(ours) == CERTIFICATES:
            ours.renewing[0].kill()
            killed.append(time.monotonic())

    ours.run(CERTIFICATES, meanwhile=kill)
    assert killed, "the worker was done before it could be killed"
    return time.monotonic() - killed[0]


def _under_way(ours: Centre) -> int:
    row = ours.connection.execute(
        "select count(*) from knit_attempts where order_url is not null and ended_at is null"
    ).fetchone()
    return int(row[0]) if row else 0
