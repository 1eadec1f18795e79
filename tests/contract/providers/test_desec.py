"""deSEC keeps the solver contract."""

from __future__ import annotations

from dataclasses import replace

from knit.ports.solving import Solver, Timing
from knit.providers import desec
from knit.providers.base import Runtime
from rig.dns_api.desec import FakeDesec
from rig.dns_api.server import Response
from tests.contract.providers.suite import FOREIGN, ONE, Case, SolverContract


class TestDesec(SolverContract):
    case = Case(
        provider=desec.PROVIDER,
        fake=FakeDesec,
        credentials={"DESEC_TOKEN": FakeDesec.token},
        secrets=(FakeDesec.token,),
        foreign=FOREIGN,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> desec.Desec:
        return desec.Desec(FakeDesec.token, timing, runtime, url=url)

    def test_a_zone_that_the_token_may_not_see_leaves_those_above_it(self, api: FakeDesec, solver: Solver) -> None:
        deeper = replace(ONE, zone=f"www.{ONE.zone}")
        api.fail(Response(status=403, body=b"not this one"), match=lambda request: "/www." in request.path)
        solver.present(deeper)
        assert api.values(ONE.fqdn) == [ONE.value]

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> desec.Desec:
        return desec.Desec("another", timing, runtime, url=url)
