"""Scaleway keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import Refused
from knit.solvers import scaleway
from knit.solvers.base import Runtime, Timing
from tests.contract.solvers.suite import ONE, TIMING, Case, SolverContract
from tests.rig.dns_api.scaleway import FakeScaleway


class TestScaleway(SolverContract):
    case = Case(
        provider=scaleway.PROVIDER,
        fake=FakeScaleway,
        credentials={"SCW_SECRET_KEY": FakeScaleway.secret},
        secrets=(FakeScaleway.secret,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> scaleway.Scaleway:
        return scaleway.Scaleway(FakeScaleway.secret, timing, runtime, project=FakeScaleway.project, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> scaleway.Scaleway:
        return scaleway.Scaleway("another", timing, runtime, url=url)

    def test_zones_of_another_project_are_not_seen(self, api: FakeScaleway, runtime: Runtime) -> None:
        elsewhere = scaleway.Scaleway(FakeScaleway.secret, TIMING, runtime, project="another", url=api.url)
        with pytest.raises(Refused):
            elsewhere.present(ONE)

    def test_a_value_behind_a_page_of_others_is_found(self, api: FakeScaleway, solver: scaleway.Scaleway) -> None:
        for value in ("one", "two", "three", ONE.value):
            api.seed("example.org", ONE.fqdn, value)
        solver.cleanup(ONE, None)
        assert api.values(ONE.fqdn) == ["one", "two", "three"]
