"""IONOS keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import Refused
from knit.ports.solving import Timing
from knit.providers import ionos
from knit.providers.base import Runtime
from rig.dns_api.ionos import FakeIonos
from rig.dns_api.server import Request, json_response
from tests.contract.providers.suite import ONE, Case, SolverContract


class TestIonos(SolverContract):
    case = Case(
        provider=ionos.PROVIDER,
        fake=FakeIonos,
        credentials={"IONOS_API_KEY": FakeIonos.key},
        secrets=(FakeIonos.key, FakeIonos.key.partition(".")[2]),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> ionos.Ionos:
        return ionos.Ionos(FakeIonos.key, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> ionos.Ionos:
        return ionos.Ionos("another.key", timing, runtime, url=url)

    def test_a_create_that_came_through_twice_is_done(self, api: FakeIonos, solver: ionos.Ionos) -> None:
        seen: list[Request] = []

        def race(request: Request) -> bool:
            if request.method != "POST" or seen:
                return False
            seen.append(request)
            api.seed("example.org", ONE.fqdn, ONE.value)
            return False

        api.fail(json_response([]), match=race)
        solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_another_refusal_keeps_its_words(self, api: FakeIonos, solver: ionos.Ionos) -> None:
        said = json_response([{"code": "INVALID_DATA", "message": "as they put it"}], 400)
        api.fail(said, match=api.is_write)
        with pytest.raises(Refused, match="as they put it"):
            solver.present(ONE)
