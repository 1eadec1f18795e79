"""An API that asks to slow down is asked by one thread at a time, and all get what they want."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from knit.core.model.challenge import Record
from knit.errors import Interrupted
from knit.ports.solving import Timing
from knit.providers.base import Runtime
from knit.providers.desec import Desec
from rig.dns_api.desec import FakeDesec
from rig.dns_api.server import Request, Response, json_response
from tests.contract.providers.suite import record

THREADS = 25
MOST = 10
TIMING = Timing(timeout=60, interval=2, ttl=3600)
RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)


class Throttled(FakeDesec):
    """Ten writes a second, and Retry-After in whole seconds."""

    refused = 0
    window = 0.0
    taken = 0

    def handle(self, request: Request) -> Response:
        if not self.is_write(request):
            return super().handle(request)
        if time.monotonic() >= self.window + 1:
            self.window, self.taken = time.monotonic(), 0
        self.taken += 1
        if self.taken > MOST:
            self.refused += 1
            return json_response({"detail": "Request was throttled."}, 429, Retry_After="1")
        return super().handle(request)


@pytest.fixture
def api() -> Iterator[Throttled]:
    api = Throttled()
    api.add_zone("example.org")
    with api.serving():
        yield api
    assert api.complaints == []


def places(count: int) -> list[Record]:
    return [record(f"v{number}", f"_acme-challenge.n{number}.example.org") for number in range(count)]


def test_a_burst_is_spread_over_the_seconds_it_needs_and_nobody_gives_up(api: Throttled) -> None:
    solver = Desec(api.token, TIMING, RUNTIME, url=api.url)
    wanted = places(2 * THREADS)
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(solver.present, wanted))
    assert [place.value for place in wanted if api.values(place.fqdn) != [place.value]] == []
    assert time.monotonic() - began < 3 * len(wanted) / MOST
    assert api.refused < 2 * THREADS, "the first burst, and then one at a time"


def test_a_stop_ends_the_wait_for_a_turn(api: Throttled) -> None:
    stopping = threading.Event()

    def sleep(seconds: float) -> None:
        if stopping.wait(seconds):
            raise Interrupted("stopping")

    solver = Desec(api.token, TIMING, Runtime(clock=RUNTIME.clock, sleep=sleep), url=api.url)
    api.fail(Response(status=429, headers={"Retry-After": "9"}), times=100, match=api.is_write)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(solver.present, place) for place in places(4)]
        time.sleep(0.5)
        stopping.set()
        began = time.monotonic()
        assert {type(each.exception(5)) for each in waiting} == {Interrupted}
        assert time.monotonic() - began < 8
