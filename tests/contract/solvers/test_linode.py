"""Linode keeps the solver contract."""

from __future__ import annotations

from knit.solvers import linode
from knit.solvers.base import Runtime, Timing
from tests.contract.solvers.suite import Case, SolverContract
from tests.rig.dns_api.linode import FakeLinode


class TestLinode(SolverContract):
    case = Case(
        provider=linode.PROVIDER,
        fake=FakeLinode,
        credentials={"LINODE_TOKEN": FakeLinode.token},
        secrets=(FakeLinode.token,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> linode.Linode:
        return linode.Linode(FakeLinode.token, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> linode.Linode:
        return linode.Linode("another", timing, runtime, url=url)
