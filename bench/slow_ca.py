"""Certificates per second and memory with a hundred orders in flight on a CA that takes 300 ms for every answer."""

from __future__ import annotations

from bench.centre import ZONES, Authority, centre
from bench.figures import Figure
from rig.knot import Knot
from rig.scripted_ca.client import ScriptedCA

IN_FLIGHT = 100
WORKERS = 2
"""As there are processors: a worker's threads share one interpreter's lock."""
FEW = 8
SETTLING = 4
"""Runs until what a worker only needs once, whatever is in flight, is there."""
DELAY_MS = 300
REQUESTS = 7
"""newOrder, authorization, challenge, authorization again, finalize, order, certificate."""
CERTIFICATES = 1000
WARM = 100


def measure() -> list[Figure]:
    """Warm up with few, look at the memory, then fill the worker."""
    knot = Knot(*ZONES)
    try:
        knot.start()
        with ScriptedCA(delay_ms=DELAY_MS, default={"processing_polls": 1}) as ca:
            return _measured(knot, Authority(directory_url=ca.directory_url, ca_file=ca.ca_file))
    finally:
        knot.close()


def _measured(knot: Knot, authority: Authority) -> list[Figure]:
    with centre(knot, authority, in_flight=IN_FLIGHT, workers=WORKERS) as ours:
        for _ in range(SETTLING):
            ours.run(FEW)
        few = ours.memory()
        ours.run(WARM)
        most = [few]
        wall = ours.run(CERTIFICATES, meanwhile=lambda: most.append(ours.memory())).wall
    ideal = IN_FLIGHT / (REQUESTS * DELAY_MS / 1000)
    kib = (max(most) - few) / (IN_FLIGHT - FEW) / 1024
    return [
        Figure(
            what=f"certificates/s, {DELAY_MS} ms added to every answer, {IN_FLIGHT} in flight / what the CA allows",
            ours=f"{1 / wall:.1f}/s",
            baseline=f"{ideal:.1f}/s",
            number=1 / wall / ideal,
            goal=0.75,
            at_least=True,
        ),
        Figure(
            what="memory per order in flight",
            ours=f"{max(most) / 2**20:.0f} MiB with {IN_FLIGHT}",
            baseline=f"{few / 2**20:.0f} MiB with {FEW}",
            number=kib,
            goal=250,
            unit="KiB",
        ),
    ]
