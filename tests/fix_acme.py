"""The test CA and the DNS servers it looks names up in. They start in well under a second: each test has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from knit.issuers.acme import network, orders
from knit.issuers.acme.polling import ANSWER, ISSUANCE
from rig.bind import Bind
from rig.challtestsrv import ChallTestSrv
from rig.knot import Knot
from rig.pebble import Pebble, PebbleOptions
from rig.scripted_ca import ScriptedCA
from tests.fix_rig import running


@pytest.fixture
def challtestsrv() -> Iterator[ChallTestSrv]:
    """A DNS server that answers for every name."""
    yield from running(ChallTestSrv)


@pytest.fixture
def pebble(challtestsrv: ChallTestSrv) -> Iterator[Pebble]:
    """A CA that looks names up in `challtestsrv` and rejects 5 % of good nonces. Fails the test if the CA hung."""
    options = PebbleOptions(dns_server=challtestsrv.address)
    for server in running(lambda: Pebble(options)):
        yield server
        server.raise_if_wedged()


@pytest.fixture
def knot() -> Iterator[Knot]:
    """A DNS server with the zones knit.example and other.example that takes signed updates."""
    yield from running(lambda: Knot("knit.example", "other.example"))


@pytest.fixture
def bind() -> Iterator[Bind]:
    """Another with the same zones: it never lets an update wait, as Knot does with many for up to a second."""
    yield from running(lambda: Bind("knit.example", "other.example"))


@pytest.fixture
def knot_pebble(knot: Knot) -> Iterator[Pebble]:
    """A CA that looks names up in `knot`, so that only a real update can satisfy it."""
    options = PebbleOptions(dns_server=knot.address)
    for server in running(lambda: Pebble(options)):
        yield server
        server.raise_if_wedged()


@pytest.fixture(scope="module")
def running_ca() -> Iterator[ScriptedCA]:
    """A CA that does as it is told, and believes every proof."""
    with ScriptedCA() as ca:
        yield ca


@pytest.fixture
def ca(running_ca: ScriptedCA) -> ScriptedCA:
    """The same, with nothing asked of it and nothing told to it yet."""
    running_ca.reset()
    return running_ca


@pytest.fixture
def scripted_ca(bind: Bind) -> Iterator[ScriptedCA]:
    """One that looks proofs up in `bind`."""
    with ScriptedCA(dns_server=bind.address, default={"validation": "dns"}) as ca:
        yield ca


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CA should have and has not is asked for as often as ever, at a tenth of the time, and so are requests."""
    monkeypatch.setattr(orders, "ANSWER", replace(ANSWER, first=ANSWER.first / 10, total=ANSWER.total / 10))
    monkeypatch.setattr(orders, "ISSUANCE", replace(ISSUANCE, once_more=ISSUANCE.once_more / 10))
    monkeypatch.setattr(network, "LONGEST_WAIT", 0.02)
