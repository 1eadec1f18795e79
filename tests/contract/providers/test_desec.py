"""deSEC keeps the solver contract."""

from __future__ import annotations

from knit.ports.solving import Timing
from knit.providers import desec
from knit.providers.base import Runtime
from rig.dns_api.desec import FakeDesec
from tests.contract.providers.suite import FOREIGN, Case, SolverContract


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
