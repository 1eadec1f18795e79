"""bunny.net keeps the solver contract."""

from __future__ import annotations

from knit.solvers import bunny
from knit.solvers.base import Runtime, Timing
from tests.contract.solvers.suite import Case, SolverContract
from tests.rig.dns_api.bunny import FakeBunny


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
