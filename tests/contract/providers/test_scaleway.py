"""Scaleway keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.ports.solving import Timing
from knit.providers import scaleway
from knit.providers.base import Runtime, Values
from rig.dns_api.scaleway import FakeScaleway
from tests.contract.providers.suite import ONE, Case, SolverContract


class TestScaleway(SolverContract):
    case = Case(
        provider=scaleway.PROVIDER,
        fake=FakeScaleway,
        credentials={"SCW_SECRET_KEY": FakeScaleway.secret},
        secrets=(FakeScaleway.secret,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> scaleway.Scaleway:
        return scaleway.Scaleway(FakeScaleway.secret, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> scaleway.Scaleway:
        return scaleway.Scaleway("another", timing, runtime, url=url)

    @pytest.mark.parametrize("name", ["SCW_PROJECT_ID", "SCALEWAY_PROJECT_ID"])
    def test_the_project_hides_no_zone(
        self, api: FakeScaleway, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(scaleway.Scaleway.__init__, "__kwdefaults__", {"url": api.url})
        scaleway.PROVIDER.solver(Values({**self.case.credentials, name: "another"}), runtime).present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_a_value_behind_a_page_of_others_is_found(self, api: FakeScaleway, solver: scaleway.Scaleway) -> None:
        for value in ("one", "two", "three", ONE.value):
            api.seed("example.org", ONE.fqdn, value)
        solver.cleanup(ONE, None)
        assert api.values(ONE.fqdn) == ["one", "two", "three"]
