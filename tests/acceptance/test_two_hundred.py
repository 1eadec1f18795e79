"""Two schedulers and two workers of each kind issue two hundred certificates, and lose workers on the way."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import pytest

from rig.knot import Knot
from rig.pebble import Pebble, PebbleOptions
from rig.process import Process, wait_until
from rig.valkey import Valkey
from tests.acceptance import hasty
from tests.acceptance.conftest import on_stage
from tests.acceptance.scene import ZONE, Scene, Servers
from tests.fix_rig import running

COUNT = 200
NAMES = tuple(f"n{number:03}.{ZONE}" for number in range(COUNT))
SHARING = NAMES[:150] + tuple(map(",".join, zip(NAMES[:100:2], NAMES[1:100:2], strict=True)))
"""As many certificates, where a hundred names are each in two of them."""

IN_FLIGHT = 25
"""In each worker."""

STOPS_WITHIN = 10.0
"""Seconds from SIGTERM to the end of a worker."""


def attempts_under_way(scene: Scene) -> int:
    return int(scene.sql("select count(*) from knit_attempts where ended_at is null and order_url is not null")[0][0])


@dataclass(frozen=True, slots=True)
class Crew:
    """Two of each process; `renewer` starts one more that renews."""

    scene: Scene
    renewer: Callable[[], Process]

    def start(self) -> tuple[Process, Process]:
        """Start all; gives the two that renew."""
        for name in ("scheduler", "scheduler", "worker-control", "worker-control"):
            self.scene.knit.start(name)
        renewing = (self.renewer(), self.renewer())
        self.scene.wait_for_schema()
        return renewing

    def lose_two(self, killed: Process, stopped: Process, *, at: int) -> float:
        """Kill one and ask the other to stop, in the middle of the pass; gives how long the second one took."""
        scene = self.scene
        scene.knit.wait_published(at, seconds=60)
        wait_until(lambda: attempts_under_way(scene) > 0, "an order under way")
        killed.kill()
        self.renewer()
        scene.knit.wait_published(at + 30, seconds=60)
        began = time.monotonic()
        stopped.send(signal.SIGTERM)
        self.renewer()
        assert stopped.wait(seconds=STOPS_WITHIN) == 0
        return time.monotonic() - began


def all_is_well(scene: Scene, wanted: Collection[str] = NAMES) -> None:
    """What must hold at the end, but for what the CA counted."""
    assert scene.index() == {f"certs:{names}" for names in wanted}
    wait_until(lambda: not scene.challenges(), "no TXT record left", seconds=30)
    wait_until(lambda: not scene.staged(), "nothing left in staging", seconds=30)
    assert scene.sql("select id from knit_attempts where ended_at is null") == []
    assert scene.sql("select id from knit_certs where last_error is not null") == []
    assert "Traceback" not in scene.knit.logs()


@pytest.fixture
def unwilling(knot: Knot, database_url: str, valkey: Valkey, queue_valkey: Valkey) -> Iterator[Scene]:
    """An installation on a Pebble that refuses half of all good nonces, and that lets proofs be used again."""
    options = PebbleOptions(dns_server=knot.address, nonce_reject_percent=50, authz_reuse_percent=100)
    for pebble in running(lambda: Pebble(options)):
        servers = Servers(ca=pebble, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)
        yield from on_stage(servers)


@pytest.mark.timeout(300)
def test_two_hundred_certificates_are_issued_by_pebble_once_each_though_workers_die(
    unwilling: Scene,
) -> None:
    scene = unwilling
    scene.insert(SHARING)
    scene.knit.settings.update(KNIT_RENEW_CONCURRENCY="2", KNIT_LOG_LEVEL="debug")
    crew = Crew(scene, lambda: scene.knit.start("worker-renew"))
    try:
        crew.lose_two(*crew.start(), at=20)
        # No second pass comes in this time: what the dead worker was on is found again by its messages alone.
        scene.knit.wait_published(COUNT, seconds=200)
    finally:
        scene.pebble.raise_if_wedged()
    all_is_well(scene, SHARING)
    assert scene.knit.logs().count('reason="a scheduler has started"') == 1, "two schedulers tick as one"
    assert Counter(scene.pebble.issued_count().values()) == {1: COUNT}
    assert len(scene.pebble.finalized()) == COUNT
    # What one certificate has proved another may use meanwhile; no order lacks a proof that was given up.
    assert len(scene.pebble.orders()) <= COUNT + 2


@pytest.mark.timeout(180)
def test_two_hundred_certificates_with_fifty_in_flight_are_finalized_once_each_though_workers_die(
    scripted: Scene,
) -> None:
    scripted.insert(NAMES)
    scripted.knit.settings["KNIT_RENEW_INTERVAL"] = "3s"
    scripted.scripted.script(delay_ms=300, nonce_reject_percent=5)
    crew = Crew(scripted, lambda: hasty.worker(scripted.knit, "renew", threads=IN_FLIGHT))
    crew.lose_two(*crew.start(), at=40)
    scripted.knit.wait_published(COUNT, seconds=120)
    all_is_well(scripted)
    counts = scripted.scripted.counts()
    assert {names: count["finalized"] for names, count in counts["names"].items()} == dict.fromkeys(NAMES, 1)
    # A worker that is killed between the CA's answer and the journal's entry leaves an order that nobody finishes.
    assert COUNT <= counts["totals"]["orders"] <= COUNT + IN_FLIGHT
    assert counts["totals"]["accounts"] == 1
