"""A hundred thousand answers that nobody should send: each ends in one of knit's errors or in none, and soon."""

from __future__ import annotations

import pkgutil
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module

import pytest

from knit.core.model.challenge import Record
from knit.core.servers import Address
from knit.dns import check
from knit.dns import query as dnsquery
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.query import NoReply
from knit.dns.visibility import look
from knit.errors import KnitError
from knit.ports.solving import Timing
from knit.providers.base import Runtime
from tests.contract import providers as solvers
from tests.contract.providers.suite import ONE, TWO, SolverContract
from tests.integration.dns.conftest import challenge
from tests.integration.dns.hostile import HostileServer, hostile, packet
from tests.unit.dns.test_hostile_dns import read

SENT = 10_000
READ = 84_000
REPLIES = 6_000
SEEDS = range(3)
LONGEST = 5.0
"""Seconds that one question may take."""

NAME = "_acme-challenge.example.org"
RECORD = Record(challenge=challenge("example.org"), fqdn=NAME, zone="example.org")


def timed(work: Callable[[], object]) -> float:
    """Seconds it took. What knit raises on purpose is no failure."""
    began = time.monotonic()
    with suppress(KnitError, NoReply):
        work()
    return time.monotonic() - began


@pytest.mark.parametrize("seed", SEEDS)
def test_no_packet_of_a_name_server_or_resolver_crashes_or_holds_up(seed: int) -> None:
    server = HostileServer(seed)
    with server.serving() as port:
        here = Address("127.0.0.1", port)
        looking = Looking(resolvers=(str(here),), timeout=0.2, recursive_check=False, authority_port=port)
        delegation = DnsDelegation(looking, lambda _: None)
        ways: tuple[Callable[[], object], ...] = (
            lambda: look(here, RECORD, recurse=False, timeout=0.2),
            lambda: look(here, RECORD, recurse=True, timeout=0.2),
            lambda: delegation.chain(NAME),
            lambda: delegation.zone_of("a.b.example.org"),
            lambda: check._caa("www.example.org", delegation),
            lambda: check._resolver(here, "example.org", 0.2),
        )
        longest = 0.0
        while server.packets < SENT // len(SEEDS):
            longest = max(longest, *(timed(way) for way in ways))
    assert longest < LONGEST


@pytest.mark.parametrize("seed", SEEDS)
def test_every_packet_is_read_or_refused(seed: int) -> None:
    dice, query = random.Random(seed), dnsquery._query(NAME, "TXT", 0)
    for _ in range(READ // len(SEEDS)):
        read(packet(query, dice))


class Hours:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < 600
        self.now += timedelta(seconds=seconds)


for module in pkgutil.iter_modules(solvers.__path__):
    if module.name.startswith("test_"):
        import_module(f"{solvers.__name__}.{module.name}")
CONTRACTS = sorted(SolverContract.__subclasses__(), key=lambda contract: contract.__name__)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.case.provider.code)
def test_no_reply_of_an_api_crashes_or_holds_up(contract: type[SolverContract]) -> None:
    hours = Hours()
    runtime = Runtime(clock=lambda: hours.now, sleep=hours.sleep)
    api = hostile(contract.case.fake, seed=len(contract.__name__))
    longest = 0.0
    with api.serving():
        api.add_zone("example.org")
        while len(api.requests) < REPLIES // len(CONTRACTS):
            solver = contract().build(api.url, Timing(timeout=60, interval=2, ttl=3600, http=2), runtime)
            for record in (ONE, TWO):
                longest = max(longest, timed(partial(solver.present, record)))
                longest = max(longest, timed(partial(solver.cleanup, record, None)))
    assert longest < LONGEST


def test_it_is_a_hundred_thousand() -> None:
    assert SENT + READ + REPLIES >= 100_000
    assert len(CONTRACTS) > 20
