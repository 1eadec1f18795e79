"""Google Cloud DNS keeps the solver contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2.credentials import Credentials

from knit.errors import CredentialsRejected, Misconfigured, RateLimited, Refused, Unreachable
from knit.ports.solving import Timing
from knit.providers import gcloud
from knit.providers.base import Runtime, Values
from knit.providers.cloud import google
from rig.dns_api.gcloud import FakeGcloud, quota
from rig.dns_api.server import Request, Response
from tests.contract.providers.suite import FOREIGN, ONE, TIMING, TWO, Case, SolverContract

_ACCOUNT = FakeGcloud.account("https://unused.invalid")


def _built(
    url: str, timing: Timing, runtime: Runtime, *, token: str = FakeGcloud.token, **options: object
) -> gcloud.Gcloud:
    def load() -> tuple[Credentials, str]:
        return Credentials(token=token), FakeGcloud.project  # type: ignore[no-untyped-call] # google-auth's own

    login = google.Login(load, project=None, timing=timing, rights="-")
    return gcloud.Gcloud(login, timing, runtime, gcloud.Options(**options), url=url)  # type: ignore[arg-type] # test data


class TestGcloud(SolverContract):
    case = Case(
        provider=gcloud.PROVIDER,
        fake=FakeGcloud,
        credentials={"GCE_SERVICE_ACCOUNT": _ACCOUNT},
        secrets=(FakeGcloud.token,),
        foreign=FOREIGN,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> gcloud.Gcloud:
        return _built(url, timing, runtime)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> gcloud.Gcloud:
        return _built(url, timing, runtime, token="another")

    def test_values_beside_ours_keep_their_ttl(self, api: FakeGcloud, solver: gcloud.Gcloud) -> None:
        api.seed("example.org", ONE.fqdn, "foreign")
        solver.present(ONE)
        assert [row["ttl"] for sets in api.sets.values() for row in sets.values()] == [300]

    def test_a_value_that_came_in_between_is_kept(self, api: FakeGcloud, solver: gcloud.Gcloud) -> None:
        seen: list[Request] = []

        def race(request: Request) -> bool:
            if request.method == "POST" and not seen:
                seen.append(request)
                api.seed("example.org", ONE.fqdn, "in between")
            return False

        api.fail(quota(), match=race)
        solver.present(ONE)
        assert sorted(api.values(ONE.fqdn)) == sorted(["in between", ONE.value])

    def test_a_quota_is_a_rate_limit_though_it_has_status_403(self, api: FakeGcloud, solver: gcloud.Gcloud) -> None:
        api.fail(quota())
        with pytest.raises(RateLimited, match="Rate Limit Exceeded"):
            solver.present(ONE)

    def test_private_zones_count_only_when_asked_for(self, api: FakeGcloud, runtime: Runtime) -> None:
        hidden = api.add("_acme-challenge.www.example.org", "private")
        _built(api.url, TIMING, runtime).present(ONE)
        assert api.sets[hidden] == {}
        api.zones = {hidden: api.zones[hidden]}
        with pytest.raises(Refused, match="GCE_ALLOW_PRIVATE_ZONE"):
            _built(api.url, TIMING, runtime).present(TWO)
        _built(api.url, TIMING, runtime, private=True).present(TWO)
        assert list(api.sets[hidden]) == [f"{TWO.fqdn}."]

    def test_a_zone_that_is_named_is_not_looked_for(self, api: FakeGcloud, runtime: Runtime) -> None:
        zone = next(name for name, (dns, _) in api.zones.items() if dns == "example.org.")
        solver = _built(api.url, TIMING, runtime, zone_id=zone)
        solver.cleanup(ONE, solver.present(ONE))
        assert not any(request.path.endswith("managedZones") for request in api.requests)

    def test_a_service_account_asks_for_a_token_once(self, api: FakeGcloud, runtime: Runtime) -> None:
        solver = _by_account(api, runtime, FakeGcloud.account(api.url))
        solver.cleanup(ONE, solver.present(ONE))
        assert sum(request.path == "/token" for request in api.requests) == 1

    def test_a_service_account_with_another_key_is_rejected(self, api: FakeGcloud, runtime: Runtime) -> None:
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        with pytest.raises(CredentialsRejected, match="Invalid JWT Signature"):
            _by_account(api, runtime, FakeGcloud.account(api.url, other)).present(ONE)

    def test_a_token_endpoint_that_does_not_answer_is_unreachable(self, api: FakeGcloud, runtime: Runtime) -> None:
        api.fail(Response(delay=2.0), times=100)
        with pytest.raises(Unreachable):
            _by_account(api, runtime, FakeGcloud.account(api.url)).present(ONE)

    def test_the_project_of_the_settings_goes_before_that_of_the_key(self, api: FakeGcloud, runtime: Runtime) -> None:
        with pytest.raises(CredentialsRejected, match="Forbidden"):
            _by_account(api, runtime, FakeGcloud.account(api.url), project="another").present(ONE)


def _by_account(api: FakeGcloud, runtime: Runtime, account: str, project: str | None = None) -> gcloud.Gcloud:
    given = {"GCE_SERVICE_ACCOUNT": account} | ({"GCE_PROJECT": project} if project else {})
    login = google.login(Values(given), TIMING, rights="-")
    return gcloud.Gcloud(login, TIMING, runtime, gcloud.Options(), url=api.url)


@pytest.mark.parametrize("text", ["no json", "[]", "{}", json.dumps({"type": "service_account", "private_key": "x"})])
def test_what_is_no_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(Misconfigured, match="GCE_SERVICE_ACCOUNT must be") as caught:
        google.login(Values({"GCE_SERVICE_ACCOUNT": text}), TIMING, rights="-")
    assert text not in str(caught.value)


def test_a_key_may_be_given_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    with pytest.raises(Misconfigured, match="cannot be read"):
        google.login(Values({"GCE_SERVICE_ACCOUNT_FILE": str(path)}), TIMING, rights="-")
    path.write_text(_ACCOUNT)
    google.login(Values({"GCE_SERVICE_ACCOUNT_FILE": str(path)}), TIMING, rights="-")
