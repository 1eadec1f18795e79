"""Infomaniak keeps the solver contract."""

from __future__ import annotations

from knit.ports.solving import Timing
from knit.providers import infomaniak
from knit.providers.base import Runtime
from rig.dns_api.infomaniak import FakeInfomaniak
from tests.contract.providers.suite import ONE, Case, SolverContract


class TestInfomaniak(SolverContract):
    case = Case(
        provider=infomaniak.PROVIDER,
        fake=FakeInfomaniak,
        credentials={"INFOMANIAK_ACCESS_TOKEN": FakeInfomaniak.token},
        secrets=(FakeInfomaniak.token,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> infomaniak.Infomaniak:
        return infomaniak.Infomaniak(FakeInfomaniak.token, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> infomaniak.Infomaniak:
        return infomaniak.Infomaniak("another", timing, runtime, url=url)

    def test_a_value_behind_a_page_of_others_is_found(self, api: FakeInfomaniak, solver: infomaniak.Infomaniak) -> None:
        for value in ("one", "two", "three", ONE.value):
            api.seed("example.org", ONE.fqdn, value)
        solver.cleanup(ONE, None)
        assert api.values(ONE.fqdn) == ["one", "two", "three"]
