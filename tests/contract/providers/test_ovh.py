"""OVHcloud keeps the solver contract."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from knit.errors import CredentialsRejected, Misconfigured, Unreachable
from knit.ports.solving import Timing
from knit.providers import ovh
from knit.providers.base import Runtime, Values
from rig.dns_api.ovh import FakeOvh
from rig.dns_api.server import Response
from tests.contract.providers.suite import NOW, ONE, TIMING, Case, SolverContract

_KEYS = {
    "OVH_APPLICATION_KEY": FakeOvh.application,
    "OVH_APPLICATION_SECRET": FakeOvh.secret,
    "OVH_CONSUMER_KEY": FakeOvh.consumer,
}


def _server(url: str, timing: Timing, runtime: Runtime) -> ovh.Server:
    return ovh.Server(url=f"{url}/1.0", runtime=runtime, timing=timing)


class TestOvh(SolverContract):
    case = Case(
        provider=ovh.PROVIDER,
        fake=FakeOvh,
        credentials=_KEYS,
        secrets=(FakeOvh.secret, FakeOvh.consumer),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> ovh.Ovh:
        keys = ovh.Keys(application=FakeOvh.application, secret=FakeOvh.secret, consumer=FakeOvh.consumer)
        return ovh.Ovh(ovh.by_keys(_server(url, timing, runtime), keys), timing)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> ovh.Ovh:
        keys = ovh.Keys(application=FakeOvh.application, secret="another", consumer=FakeOvh.consumer)
        return ovh.Ovh(ovh.by_keys(_server(url, timing, runtime), keys), timing)

    def test_a_key_that_may_only_write_is_enough(self, api: FakeOvh, runtime: Runtime) -> None:
        api.readable = False
        solver = self.build(api.url, TIMING, runtime)
        state = solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        solver.cleanup(ONE, state)
        assert api.values(ONE.fqdn) == []

    def test_a_key_that_may_only_write_cannot_find_a_lost_record(self, api: FakeOvh, runtime: Runtime) -> None:
        api.readable = False
        solver = self.build(api.url, TIMING, runtime)
        solver.present(ONE)
        with pytest.raises(CredentialsRejected, match="GET to find records"):
            solver.cleanup(ONE, None)

    def test_a_service_account_asks_for_a_token_once(self, api: FakeOvh, runtime: Runtime) -> None:
        solver = _by_client(api, runtime, FakeOvh.client_secret)
        solver.cleanup(ONE, solver.present(ONE))
        assert sum(request.path == "/auth/oauth2/token" for request in api.requests) == 1

    def test_a_service_account_asks_again_when_the_token_is_old(self, api: FakeOvh) -> None:
        now = [NOW]
        solver = _by_client(api, Runtime(clock=lambda: now[0], sleep=lambda _: None), FakeOvh.client_secret)
        state = solver.present(ONE)
        now[0] += timedelta(hours=1)
        solver.cleanup(ONE, state)
        assert sum(request.path == "/auth/oauth2/token" for request in api.requests) == 2

    def test_a_service_account_with_a_wrong_secret_is_rejected(self, api: FakeOvh, runtime: Runtime) -> None:
        with pytest.raises(CredentialsRejected, match="Client not found"):
            _by_client(api, runtime, "another").present(ONE)

    def test_an_access_token_works(self, api: FakeOvh, runtime: Runtime) -> None:
        ovh.Ovh(ovh.by_token(_server(api.url, TIMING, runtime), FakeOvh.token), TIMING).present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_a_create_whose_answer_was_lost_leaves_the_value_once(self, api: FakeOvh, runtime: Runtime) -> None:
        api.seed("example.org", ONE.fqdn, ONE.value)
        self.build(api.url, TIMING, runtime).present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_the_zone_is_refreshed_even_when_the_record_was_gone(self, api: FakeOvh, runtime: Runtime) -> None:
        solver = self.build(api.url, TIMING, runtime)
        state = solver.present(ONE)
        api.fail(Response(status=503), times=3, match=lambda request: request.path.endswith("/refresh"))
        with pytest.raises(Unreachable, match="cannot serve now"):
            solver.cleanup(ONE, state)
        solver.cleanup(ONE, state)
        assert api.values(ONE.fqdn) == []

    @pytest.mark.parametrize("endpoint", ["ovh-eu", "ovh-ca", "ovh-us", "soyoustart-eu", "https://ovh.example/1.0"])
    def test_an_endpoint_is_a_name_or_an_address(self, endpoint: str, runtime: Runtime) -> None:
        ovh.PROVIDER.solver(Values({**_KEYS, "OVH_ENDPOINT": endpoint}), runtime)

    def test_an_unknown_endpoint_is_refused_with_those_there_are(self, runtime: Runtime) -> None:
        with pytest.raises(Misconfigured, match=r"one of ovh-eu, ovh-ca.*not 'ovh-mars'"):
            ovh.PROVIDER.solver(Values({**_KEYS, "OVH_ENDPOINT": "ovh-mars"}), runtime)


class TestOvhConf:
    """OVH's own file, in the home of the user."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def write(self, home: Path, text: str, name: str = ".ovh.conf") -> None:
        (home / name).write_text(text)

    def test_keys_that_are_not_set_come_from_the_file(self, home: Path, runtime: Runtime) -> None:
        self.write(home, "[ovh-eu]\napplication_key=a\napplication_secret=%b\nconsumer_key=c\n")
        assert isinstance(ovh.PROVIDER.solver(Values({}), runtime), ovh.Ovh)
        given = Values({"OVH_ENDPOINT": "ovh-eu"}, "west")
        assert isinstance(ovh.PROVIDER.solver(given, runtime), ovh.Ovh)

    def test_a_user_without_a_home_has_the_system_s_file_alone(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As under a number that a container's platform has made up."""
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os, "getuid", lambda: 1_234_567_890)
        with pytest.raises(Misconfigured, match="OVH_APPLICATION_KEY"):
            ovh.PROVIDER.solver(Values({}), runtime)

    def test_the_working_folder_s_file_goes_before_the_home_s(self, home: Path) -> None:
        self.write(home, "[ovh-eu]\nconsumer_key=home\nclient_id=id\n")
        self.write(home, "[ovh-eu]\nconsumer_key=here\n", "ovh.conf")
        found = ovh._from_file(Values({}))
        assert found == {"OVH_ENDPOINT": "ovh-eu", "OVH_CONSUMER_KEY": "here", "OVH_CLIENT_ID": "id"}

    def test_the_endpoint_s_section_counts(self, home: Path) -> None:
        self.write(home, "[default]\nendpoint=ovh-ca\n[ovh-ca]\naccess_token=ca\n[ovh-us]\naccess_token=us\n")
        assert ovh._from_file(Values({}))["OVH_ACCESS_TOKEN"] == "ca"
        assert ovh._from_file(Values({"OVH_ENDPOINT": "ovh-us"}))["OVH_ACCESS_TOKEN"] == "us"

    def test_a_file_that_is_none_is_refused_without_being_shown(self, home: Path, runtime: Runtime) -> None:
        self.write(home, "canary")
        with pytest.raises(Misconfigured, match=r"ovh\.conf") as caught:
            ovh.PROVIDER.solver(Values({}), runtime)
        assert "canary" not in str(caught.value)

    def test_keys_that_are_set_leave_the_file_alone(self, home: Path, runtime: Runtime) -> None:
        self.write(home, "canary")
        ovh.PROVIDER.solver(Values(_KEYS), runtime)

    @pytest.fixture
    def runtime(self) -> Runtime:
        return Runtime(clock=lambda: NOW, sleep=lambda _: None)


def _by_client(api: FakeOvh, runtime: Runtime, secret: str) -> ovh.Ovh:
    server = _server(api.url, TIMING, runtime)
    return ovh.Ovh(ovh.by_client(server, FakeOvh.client, secret, f"{api.url}/auth/oauth2/token"), TIMING)
