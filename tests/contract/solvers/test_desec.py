"""deSEC keeps the solver contract."""

from __future__ import annotations

from knit.solvers import desec
from knit.solvers.base import Runtime, Timing
from tests.contract.solvers.suite import FOREIGN, Case, SolverContract
from tests.rig.dns_api.desec import FakeDesec


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

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> desec.Desec:
        return desec.Desec("another", timing, runtime, url=url)
