"""A DNS provider whose API really changes a zone of the test's DNS."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field

from rig.dns_api.desec import FakeDesec
from rig.dns_api.server import Request, Response, json_response
from rig.dns_world import World


@dataclass(kw_only=True)
class Rate:
    """At most `most` requests in any window of `seconds`; what comes too soon gets 429 and when to come again."""

    most: int
    seconds: float
    taken: deque[float] = field(default_factory=deque)

    def refuse(self) -> Response | None:
        """None, and the request counts; or the answer that tells to wait."""
        now = time.monotonic()
        while self.taken and self.taken[0] <= now - self.seconds:
            self.taken.popleft()
        if len(self.taken) < self.most:
            self.taken.append(now)
            return None
        wait = math.ceil(self.taken[0] + self.seconds - now)
        return json_response({"detail": "Request was throttled."}, 429, Retry_After=str(wait))


class HostedDesec(FakeDesec):
    """deSEC for a world: what is written there is what the zone's name servers answer."""

    def __init__(self, world: World, rate: Rate | None = None) -> None:
        super().__init__()
        self.world = world
        self.rate = rate
        self.writes: list[float] = []
        self._shown: dict[str, frozenset[tuple[str, str]]] = {}
        self.throttled = 0

    def handle(self, request: Request) -> Response:
        refused = self.rate.refuse() if self.rate is not None and self.is_write(request) else None
        if refused is not None:
            self.throttled += 1
            return refused
        if self.is_write(request):
            self.writes.append(time.monotonic())
        response = super().handle(request)
        if self.is_write(request):
            self._show()
        return response

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        super().seed(zone, fqdn, value)
        self._show()

    def _show(self) -> None:
        """Copy every TXT set into the zone as the world knows it; what is a test's own stays."""
        for zone, sets in self.zones.items():
            records = self.world.truth[zone].records
            now = {(f"{subname}.{zone}".lstrip("."), "TXT"): list(values) for subname, values in sets.items()}
            for gone in [place for place in self._shown.get(zone, ()) if place not in now]:
                records.pop(gone, None)
            records.update(now)
            self._shown[zone] = frozenset(now)
