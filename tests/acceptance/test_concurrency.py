"""As many orders of one issuer in flight as its table says, over all workers together, counted at the CA."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

import pytest

from rig.bind import Bind
from rig.process import wait_until
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.conftest import on_stage
from tests.acceptance.scene import ZONE, Scene, Servers

COUNT, MOST = 12, 2


@pytest.fixture
def limited(
    bind: Bind, scripted_ca: ScriptedCA, database_url: str, valkey: Valkey, queue_valkey: Valkey
) -> Iterator[Scene]:
    """An installation whose only issuer may have few orders in flight, on a CA that is slow."""
    scripted_ca.script(delays_ms={"newOrder": 400, "finalize": 400})
    servers = Servers(ca=scripted_ca, dns=bind, database=database_url, valkey=valkey, queue=queue_valkey)
    for scene in on_stage(servers):
        text = (
            f'[issuer.ours]\nkind = "acme"\ndirectory = "{scripted_ca.directory_url}"\n'
            f'ca_file = "{scripted_ca.ca_file}"\nconcurrency = {MOST}\n'
        )
        file = scene.knit.home / "issuers.toml"
        file.write_text(text)
        for name in [name for name in scene.knit.settings if name.startswith("KNIT_ACME_")]:
            del scene.knit.settings[name]
        scene.knit.settings.update(KNIT_ISSUERS_FILE=str(file), KNIT_RENEW_CONCURRENCY="6")
        yield scene


def in_flight(ca: ScriptedCA, *, cut: float | None = None) -> int:
    """The most orders that were worked on at the same time. What a worker left behind at `cut` was not."""
    spans: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for entry in ca.journal():
        if entry["names"] and entry["kind"] != "renewalInfo":
            spans[entry["names"], cut is not None and entry["at"] > cut].append(entry["at"])
    edges = [(min(span), 1) for span in spans.values()] + [(max(span), -1) for span in spans.values()]
    peak = now = 0
    for _, change in sorted(edges):
        now += change
        peak = max(peak, now)
    return peak


@pytest.mark.timeout(120)
def test_two_workers_never_have_more_orders_in_flight_than_their_issuer_may(
    limited: Scene, scripted_ca: ScriptedCA
) -> None:
    limited.insert([f"n{number}.{ZONE}" for number in range(COUNT)])
    for name in ("scheduler", "worker-control", "worker-renew", "worker-renew"):
        limited.knit.start(name)
    limited.wait_for_schema()
    limited.knit.wait_published(COUNT, seconds=60)
    assert in_flight(scripted_ca) == MOST
    assert scripted_ca.counts()["totals"]["orders"] == COUNT


@pytest.mark.timeout(180)
def test_the_places_of_a_killed_worker_come_back(limited: Scene, scripted_ca: ScriptedCA) -> None:
    scripted_ca.script(delays_ms={"finalize": 3000})
    limited.insert([f"n{number}.{ZONE}" for number in range(2 * MOST)])
    for name in ("scheduler", "worker-control"):
        limited.knit.start(name)
    first = limited.knit.start("worker-renew")
    limited.wait_for_schema()
    wait_until(lambda: scripted_ca.counts()["requests"].get("finalize", 0) == MOST, "all places taken", seconds=40)
    limited.knit.start("worker-renew")
    first.kill()
    killed = time.time()
    scripted_ca.script(delays_ms={})
    limited.knit.wait_published(2 * MOST, seconds=100)
    assert in_flight(scripted_ca, cut=killed) <= MOST
    assert scripted_ca.counts()["totals"]["orders"] == 2 * MOST
