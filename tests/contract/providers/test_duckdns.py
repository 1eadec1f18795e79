"""Duck DNS keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import CredentialsRejected, Refused
from knit.ports.solving import HoldsOneValue, Solver, Timing
from knit.providers import duckdns
from knit.providers.base import Runtime
from rig.dns_api.duckdns import FakeDuckDns
from rig.dns_api.server import FakeApi
from tests.contract.providers.suite import ONE, TIMING, Case, SolverContract, record


class TestDuckDns(SolverContract):
    case = Case(
        provider=duckdns.PROVIDER,
        fake=FakeDuckDns,
        credentials={"DUCKDNS_TOKEN": FakeDuckDns.token},
        secrets=(FakeDuckDns.token,),
        single_value=True,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> duckdns.DuckDns:
        return duckdns.DuckDns(FakeDuckDns.token, timing, runtime, url=url, apex=FakeDuckDns.apex)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> duckdns.DuckDns:
        return duckdns.DuckDns("another", timing, runtime, url=url, apex=FakeDuckDns.apex)

    def test_sets_a_value_at_the_name_of_the_zone_itself(self, api: FakeApi, solver: Solver) -> None:
        """Nobody but Duck DNS can: the zone is theirs. The nearest to it is the account's name itself."""
        state = solver.present(record("own", "www.example.org"))
        assert api.values("www.example.org") == ["own"]
        solver.cleanup(record("own", "www.example.org"), state)
        assert api.values("www.example.org") == []

    def test_a_name_outside_duck_dns_is_refused_without_a_call(self, api: FakeApi, solver: Solver) -> None:
        with pytest.raises(Refused, match="not below example"):
            solver.present(record("value", "_acme-challenge.example.org.test", zone="example.org.test"))
        assert api.requests == []

    def test_a_name_of_another_account_says_so(self, solver: Solver) -> None:
        with pytest.raises(CredentialsRejected, match="KO for other"):
            solver.present(record("value", "_acme-challenge.other.example.org"))

    def test_names_below_one_duck_dns_name_share_their_slot(self, api: FakeApi, runtime: Runtime) -> None:
        solver = self.build(api.url, TIMING, runtime)
        assert isinstance(solver, HoldsOneValue)
        assert solver.slot(ONE) == solver.slot(record("value", "_acme-challenge.deep.www.example.org"))
        assert solver.slot(ONE) != solver.slot(record("value", "_acme-challenge.b.example.org"))
