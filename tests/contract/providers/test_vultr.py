"""Vultr keeps the solver contract."""

from __future__ import annotations

from knit.ports.solving import Timing
from knit.providers import vultr
from knit.providers.base import Runtime
from rig.dns_api.vultr import FakeVultr
from tests.contract.providers.suite import Case, SolverContract


class TestVultr(SolverContract):
    case = Case(
        provider=vultr.PROVIDER,
        fake=FakeVultr,
        credentials={"VULTR_API_KEY": FakeVultr.key},
        secrets=(FakeVultr.key,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> vultr.Vultr:
        return vultr.Vultr(FakeVultr.key, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> vultr.Vultr:
        return vultr.Vultr("another", timing, runtime, url=url)
