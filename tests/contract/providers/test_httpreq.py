"""The solver that asks a server of the user's own keeps the solver contract."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from knit.errors import Misconfigured
from knit.ports.solving import Solver, Timing
from knit.providers import httpreq
from knit.providers.base import Runtime, Values
from rig.dns_api.httpreq import FakeHttpReq
from tests.contract.providers.suite import ONE, Case, SolverContract

_WHO = {"HTTPREQ_USERNAME": FakeHttpReq.user, "HTTPREQ_PASSWORD": FakeHttpReq.password}


class TestHttpReq(SolverContract):
    case = Case(
        provider=httpreq.PROVIDER,
        fake=FakeHttpReq,
        credentials={"HTTPREQ_ENDPOINT": "https://dns.example/hook", **_WHO},
        secrets=(FakeHttpReq.password,),
        finds_zones=False,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> httpreq.HttpReq:
        return self._built(FakeHttpReq.password, url, timing, runtime)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> httpreq.HttpReq:
        return self._built("another", url, timing, runtime)

    @staticmethod
    def _built(password: str, url: str, timing: Timing, runtime: Runtime) -> httpreq.HttpReq:
        endpoint = httpreq.Endpoint(url=f"{url}{FakeHttpReq.path}/", user=FakeHttpReq.user, password=password)
        return httpreq.HttpReq(endpoint, timing, runtime)

    def test_raw_mode_sends_what_the_value_is_made_of(self, api: FakeHttpReq, runtime: Runtime) -> None:
        solver = _from_settings(api, runtime, {**_WHO, "HTTPREQ_MODE": "RAW"})
        solver.present(ONE)
        solver.cleanup(ONE, None)
        challenge = ONE.challenge
        sent = {"domain": "www.example.org", "token": challenge.token, "keyAuth": challenge.key_authorization}
        assert api.raw == [{"action": "present", **sent}, {"action": "cleanup", **sent}]

    def test_user_password_and_query_may_stand_in_the_address(self, api: FakeHttpReq, runtime: Runtime) -> None:
        who = f"{FakeHttpReq.user}:{quote(FakeHttpReq.password)}@"
        url = f"{api.url.replace('://', f'://{who}')}{FakeHttpReq.path}?key=query-canary"
        solver = httpreq.PROVIDER.solver(Values({"HTTPREQ_ENDPOINT": url}), runtime)
        solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        assert dict(api.requests[0].query) == {"key": "query-canary"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("HTTPREQ_MODE", "COOKED"),
            ("HTTPREQ_ENDPOINT", "https://[canary"),
            ("HTTPREQ_ENDPOINT", "dns.example/hook"),
        ],
    )
    def test_a_setting_that_cannot_be_is_refused(self, runtime: Runtime, name: str, value: str) -> None:
        with pytest.raises(Misconfigured):
            httpreq.PROVIDER.solver(Values({**self.case.credentials, name: value}), runtime)


def _from_settings(api: FakeHttpReq, runtime: Runtime, settings: dict[str, str]) -> Solver:
    return httpreq.PROVIDER.solver(Values({"HTTPREQ_ENDPOINT": f"{api.url}{FakeHttpReq.path}", **settings}), runtime)
