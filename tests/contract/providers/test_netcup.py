"""netcup keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import RateLimited, Refused, Unreachable
from knit.ports.solving import Timing
from knit.providers import netcup
from knit.providers.base import Runtime
from rig.dns_api.netcup import FakeNetcup, answer
from tests.contract.providers.suite import ONE, TWO, Case, SolverContract, record


class TestNetcup(SolverContract):
    case = Case(
        provider=netcup.PROVIDER,
        fake=FakeNetcup,
        credentials={
            "NETCUP_CUSTOMER_NUMBER": FakeNetcup.customer,
            "NETCUP_API_KEY": FakeNetcup.key,
            "NETCUP_API_PASSWORD": FakeNetcup.password,
        },
        secrets=(FakeNetcup.key, FakeNetcup.password),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> netcup.Netcup:
        return self._built(FakeNetcup.password, url, timing, runtime)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> netcup.Netcup:
        return self._built("another", url, timing, runtime)

    @staticmethod
    def _built(password: str, url: str, timing: Timing, runtime: Runtime) -> netcup.Netcup:
        login = netcup.Login(customer=FakeNetcup.customer, key=FakeNetcup.key, password=password)
        return netcup.Netcup(login, timing, runtime, url=url)

    def test_one_session_serves_many_calls(self, api: FakeNetcup, solver: netcup.Netcup) -> None:
        for value in (ONE, TWO):
            solver.present(value)
            solver.cleanup(value, None)
        assert api.logins == 1

    def test_a_session_that_netcup_has_forgotten_is_replaced(self, api: FakeNetcup, solver: netcup.Netcup) -> None:
        solver.present(ONE)
        api.sessions.clear()
        solver.cleanup(ONE, None)
        assert (api.values(ONE.fqdn), api.logins) == ([], 2)

    def test_sessions_that_never_last_are_worth_another_try_later(self, api: FakeNetcup, solver: netcup.Netcup) -> None:
        forgotten = answer("", "error", 4001, ("Api session id in invalid format", "not in a valid format"), "")
        api.fail(forgotten, times=100, match=lambda request: b"login" not in request.body)
        with pytest.raises(Unreachable, match="sessions do not last"):
            solver.present(ONE)
        assert api.logins == 2

    def test_too_many_requests_are_a_rate_limit(self, api: FakeNetcup, solver: netcup.Netcup) -> None:
        said = ("Too many", "More than 180 requests per minute. Please wait and retry later.")
        api.fail(answer("login", "error", 4013, said, ""))
        with pytest.raises(RateLimited, match="180 requests per minute"):
            solver.present(ONE)

    def test_a_name_with_too_many_labels_for_a_domain_is_below_one(
        self, api: FakeNetcup, solver: netcup.Netcup
    ) -> None:
        deep = record("deep", "_acme-challenge.a.b.c.d.example.org", zone="a.b.c.d.example.org")
        solver.present(deep)
        assert api.values(deep.fqdn) == ["deep"]

    @pytest.mark.parametrize(
        "said", ["Can not get DNS records for zone.", "The zone example.org could not be found.", "No records."]
    )
    def test_a_zone_without_any_record_is_written_to(self, api: FakeNetcup, solver: netcup.Netcup, said: str) -> None:
        api.hides_empty_zones = said
        solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        solver.cleanup(ONE, None)
        solver.cleanup(ONE, None)
        assert api.values(ONE.fqdn) == []

    def test_a_refused_write_keeps_its_words(self, api: FakeNetcup, solver: netcup.Netcup) -> None:
        api.fail(answer("", "error", 4013, ("Validation Error.", "as they put it"), ""), match=api.is_write)
        with pytest.raises(Refused, match="as they put it"):
            solver.present(ONE)
