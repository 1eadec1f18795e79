"""bunny.net keeps the solver contract."""

from __future__ import annotations

from knit.ports.solving import Timing
from knit.providers import bunny
from knit.providers.base import Runtime
from rig.dns_api.bunny import FakeBunny
from tests.contract.providers.suite import NOW, ONE, TIMING, Case, SolverContract


class TestBunny(SolverContract):
    case = Case(
        provider=bunny.PROVIDER,
        fake=FakeBunny,
        credentials={"BUNNY_API_KEY": FakeBunny.key},
        secrets=(FakeBunny.key,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> bunny.Bunny:
        return bunny.Bunny(FakeBunny.key, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> bunny.Bunny:
        return bunny.Bunny("another", timing, runtime, url=url)


def test_a_zone_behind_a_page_of_zones_with_its_name_in_theirs_is_found() -> None:
    api = FakeBunny()
    runtime = Runtime(clock=lambda: NOW, sleep=lambda _: None)
    with api.serving() as url:
        for zone in ("a.example.org", "b.example.org", "example.org.test", "example.org"):
            api.add_zone(zone)
        bunny.Bunny(FakeBunny.key, TIMING, runtime, url=url).present(ONE)
    assert api.values(ONE.fqdn) == [ONE.value]
