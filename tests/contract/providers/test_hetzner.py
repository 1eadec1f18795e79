"""Both of Hetzner's APIs keep the solver contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from knit.errors import Refused, Unreachable
from knit.ports.solving import Timing
from knit.providers import hetzner
from knit.providers.base import Runtime, Values
from rig.dns_api.hetzner import FakeHetzner, FakeHetznerConsole
from rig.dns_api.server import Response
from tests.contract.providers.suite import NOW, ONE, TIMING, TWO, Case, SolverContract

BUSY = b'{"error": {"code": "locked", "message": "the zone is locked"}}'


class TestHetzner(SolverContract):
    case = Case(
        provider=hetzner.PROVIDER,
        fake=FakeHetzner,
        credentials={"HETZNER_API_TOKEN": FakeHetzner.token},
        secrets=(FakeHetzner.token,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> hetzner.Hetzner:
        return hetzner.Hetzner(FakeHetzner.token, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> hetzner.Hetzner:
        return hetzner.Hetzner("another", timing, runtime, url=url)


class TestHetznerConsole(SolverContract):
    case = Case(
        provider=hetzner.PROVIDER,
        fake=FakeHetznerConsole,
        credentials={"HETZNER_API_KEY": FakeHetznerConsole.key},
        secrets=(FakeHetznerConsole.key,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> hetzner.HetznerConsole:
        return hetzner.HetznerConsole(FakeHetznerConsole.key, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> hetzner.HetznerConsole:
        return hetzner.HetznerConsole("another", timing, runtime, url=url)


@pytest.fixture
def api() -> Iterator[FakeHetzner]:
    api = FakeHetzner()
    with api.serving():
        api.add_zone("example.org")
        yield api
    assert api.complaints == []


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def solver(api: FakeHetzner, slept: list[float]) -> hetzner.Hetzner:
    runtime = Runtime(clock=lambda: NOW, sleep=slept.append)
    return hetzner.Hetzner(FakeHetzner.token, TIMING, runtime, url=api.url)


@pytest.mark.parametrize("looks", [2, 30, 100])
def test_a_running_change_is_waited_for_as_long_as_a_record_may_take(
    api: FakeHetzner, solver: hetzner.Hetzner, slept: list[float], looks: int
) -> None:
    api.slow = ["running"] * looks
    solver.present(ONE)
    assert slept == [1.0] * looks


def test_a_change_that_never_ends_is_unreachable(api: FakeHetzner, solver: hetzner.Hetzner) -> None:
    api.slow = ["running"] * 500
    with pytest.raises(Unreachable, match="still busy"):
        solver.present(ONE)


def test_a_failed_change_is_reported_in_hetzner_s_words(api: FakeHetzner, solver: hetzner.Hetzner) -> None:
    api.slow = ["running", "error"]
    with pytest.raises(Unreachable, match="out of luck"):
        solver.present(ONE)


@pytest.mark.parametrize("status", [409, 423])
def test_a_busy_zone_is_tried_again(api: FakeHetzner, solver: hetzner.Hetzner, status: int) -> None:
    api.fail(Response(status=status, body=BUSY), match=api.is_write)
    solver.present(ONE)
    api.fail(Response(status=status, body=BUSY), match=api.is_write)
    solver.cleanup(ONE, None)
    assert api.values(ONE.fqdn) == []


def test_a_value_that_a_lost_answer_had_set_already_is_looked_at_again(
    api: FakeHetzner, solver: hetzner.Hetzner, slept: list[float]
) -> None:
    api.fail(Response(status=422, body=b"record already exists"), match=api.is_write)
    solver.present(ONE)
    assert api.values(ONE.fqdn) == [ONE.value]
    assert slept == [1.0]


def test_a_zone_that_stays_busy_is_unreachable(api: FakeHetzner, solver: hetzner.Hetzner) -> None:
    api.fail(Response(status=423, body=BUSY), match=api.is_write, times=100)
    with pytest.raises(Unreachable, match="busy"):
        solver.present(ONE)


def test_a_zone_that_is_only_a_copy_is_refused(api: FakeHetzner, solver: hetzner.Hetzner) -> None:
    api.fail(Response(status=422, body=b"incorrect_zone_mode"), match=api.is_write)
    with pytest.raises(Refused, match="incorrect_zone_mode"):
        solver.present(ONE)


@pytest.mark.parametrize("ttl", [7200, None])
def test_a_value_joins_a_set_that_has_another_ttl(api: FakeHetzner, solver: hetzner.Hetzner, ttl: int | None) -> None:
    api.seed("example.org", ONE.fqdn, TWO.value, ttl)
    solver.present(ONE)
    assert api.values(ONE.fqdn) == [TWO.value, ONE.value]


def test_the_old_console_has_lego_s_defaults_for_it() -> None:
    runtime = Runtime(clock=lambda: NOW, sleep=lambda _: None)
    old = hetzner.PROVIDER.solver(Values({"HETZNER_API_KEY": "k"}), runtime)
    assert (old.timeout, old.interval, old.ttl) == (120, 2, 60)
    new = hetzner.PROVIDER.solver(Values({"HETZNER_API_KEY": "k", "HETZNER_API_TOKEN": "t"}), runtime)
    assert (new.timeout, new.interval, new.ttl) == (60, 2, 120)
    own = hetzner.PROVIDER.solver(Values({"HETZNER_API_KEY": "k", "HETZNER_TTL": "300"}), runtime)
    assert own.ttl == 300
