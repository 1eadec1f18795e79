"""Azure DNS keeps the solver contract."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from knit.errors import CredentialsRejected, Misconfigured, Refused, Unreachable
from knit.ports.solving import Timing
from knit.providers import azuredns
from knit.providers.base import Runtime, Values
from knit.providers.cloud import azure
from rig.dns_api.azuredns import FakeAzureDns
from rig.dns_api.server import FakeApi, Request, Response, json_response
from tests.contract.providers.suite import ONE, TIMING, Case, SolverContract

_CLIENT = {"AZURE_TENANT_ID": "contoso.example", "AZURE_CLIENT_ID": "client-1"}
_PRIVATE = FakeAzureDns.group, "privateDnsZones", "example.org"


class _Issued:
    """A credential whose token is there already, or that gives none."""

    def __init__(self, token: str = FakeAzureDns.token, error: Exception | None = None) -> None:
        self._token = token
        self._error = error

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        if self._error is not None:
            raise self._error
        return AccessToken(self._token, int(time.time()) + 3600)


def _built(
    url: str, timing: Timing, runtime: Runtime, *, credential: _Issued | None = None, **options: object
) -> azuredns.AzureDns:
    login = azure.Login(credential=credential or _Issued(), scope="scope", rights="-")
    chosen = azuredns.Options(**options)  # type: ignore[arg-type] # test data
    return azuredns.AzureDns(login, timing, runtime, chosen, url=url)


class TestAzureDns(SolverContract):
    case = Case(
        provider=azuredns.PROVIDER,
        fake=FakeAzureDns,
        credentials=_CLIENT | {"AZURE_CLIENT_SECRET": "azure-secret-canary"},
        secrets=(FakeAzureDns.token,),
        foreign=(["a" * 255, "b" * 40], ["caf\u00e9"], ['quo"te']),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> azuredns.AzureDns:
        return _built(url, timing, runtime)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> azuredns.AzureDns:
        return _built(url, timing, runtime, credential=_Issued("another"))

    def test_ttl_and_metadata_of_a_set_that_is_there_are_kept(
        self, api: FakeAzureDns, solver: azuredns.AzureDns
    ) -> None:
        api.seed("example.org", ONE.fqdn, "foreign")
        solver.cleanup(ONE, solver.present(ONE))
        [texts] = api.zones[api.group, "dnsZones", "example.org"].values()
        assert (texts.ttl, texts.metadata, texts.values) == (300, {"owner": "somebody"}, [["foreign"]])

    @pytest.mark.parametrize("there", [[], ["foreign"]])
    def test_a_value_that_came_in_between_is_kept(
        self, api: FakeAzureDns, solver: azuredns.AzureDns, there: list[str]
    ) -> None:
        for value in there:
            api.seed("example.org", ONE.fqdn, value)
        seen: list[Request] = []

        def race(request: Request) -> bool:
            if api.is_write(request) and not seen:
                seen.append(request)
                api.seed("example.org", ONE.fqdn, "in between")
            return False

        api.fail(Response(), match=race)
        solver.present(ONE)
        assert sorted(api.values(ONE.fqdn)) == sorted([*there, "in between", ONE.value])

    def test_a_value_in_several_strings_goes_back_as_it_came(
        self, api: FakeAzureDns, solver: azuredns.AzureDns
    ) -> None:
        api.seed("example.org", ONE.fqdn, "long")
        [texts] = api.zones[api.group, "dnsZones", "example.org"].values()
        texts.values = [["a" * 255, "b"]]
        solver.cleanup(ONE, solver.present(ONE))
        [texts] = api.zones[api.group, "dnsZones", "example.org"].values()
        assert texts.values == [["a" * 255, "b"]]

    def test_a_zone_whose_place_is_told_is_not_searched_for(self, api: FakeAzureDns, runtime: Runtime) -> None:
        _built(api.url, TIMING, runtime, subscription=api.subscription, group=api.group).present(ONE)
        assert not any("ResourceGraph" in request.path for request in api.requests)

    def test_two_zones_of_one_name_are_told_apart_by_their_group(self, api: FakeAzureDns, runtime: Runtime) -> None:
        api.zones["other-group", "dnsZones", "example.org"] = {}
        with pytest.raises(Refused, match="AZURE_RESOURCE_GROUP"):
            _built(api.url, TIMING, runtime).present(ONE)
        _built(api.url, TIMING, runtime, group="other-group").present(ONE)
        assert api.zones["other-group", "dnsZones", "example.org"]

    def test_a_zone_that_is_named_is_the_only_one(self, api: FakeAzureDns, runtime: Runtime) -> None:
        api.add_zone("_acme-challenge.www.example.org")
        _built(api.url, TIMING, runtime, zone="example.org").present(ONE)
        assert list(api.zones[api.group, "dnsZones", "example.org"]) == ["_acme-challenge.www"]
        with pytest.raises(Refused, match="AZURE_ZONE_NAME"):
            _built(api.url, TIMING, runtime, zone="aaa.example").present(ONE)

    def test_a_search_can_be_narrowed(self, api: FakeAzureDns, runtime: Runtime) -> None:
        with pytest.raises(Refused):
            _built(api.url, TIMING, runtime, narrowed="where tags.acme == 'yes'").present(ONE)

    def test_private_zones_are_kept_apart(self, api: FakeAzureDns, runtime: Runtime) -> None:
        api.zones[_PRIVATE] = {}
        solver = _built(api.url, TIMING, runtime, private=True)
        state = solver.present(ONE)
        assert [texts.values for texts in api.zones[_PRIVATE].values()] == [[[ONE.value]]]
        solver.cleanup(ONE, state)
        assert api.zones[_PRIVATE] == {}

    @pytest.mark.parametrize(
        ("error", "kind"),
        [(ClientAuthenticationError("AADSTS7000215"), CredentialsRejected), (ServiceRequestError("x"), Unreachable)],
    )
    def test_a_login_that_fails_is_one_of_our_errors(
        self, api: FakeAzureDns, runtime: Runtime, error: Exception, kind: type[Exception]
    ) -> None:
        with pytest.raises(kind):
            _built(api.url, TIMING, runtime, credential=_Issued(error=error)).present(ONE)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"AZURE_CLIENT_SECRET": "s"}, "ClientSecretCredential"),
        ({"AZURE_CLIENT_SECRET": "s", "AZURE_AUTH_METHOD": "env"}, "ClientSecretCredential"),
        ({"AZURE_AUTH_METHOD": "wli", "AZURE_FEDERATED_TOKEN_FILE": "/nowhere"}, "WorkloadIdentityCredential"),
        ({"AZURE_AUTH_METHOD": "MSI"}, "ManagedIdentityCredential"),
        ({"AZURE_AUTH_METHOD": "cli"}, "AzureCliCredential"),
        ({"AZURE_AUTH_METHOD": "oidc", "AZURE_OIDC_TOKEN": "t"}, "ClientAssertionCredential"),
        (
            {"AZURE_AUTH_METHOD": "pipeline", "SERVICE_CONNECTION_ID": "c", "SYSTEM_ACCESSTOKEN": "t"},
            "AzurePipelinesCredential",
        ),
        ({}, "DefaultAzureCredential"),
    ],
)
def test_the_credential_is_chosen_as_lego_chooses(
    given: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSTEM_OIDCREQUESTURI", "https://dev.azure.example/oidc")
    runtime = Runtime(clock=_never, sleep=_never)
    login = azure.login(Values(_CLIENT | given), TIMING, runtime, rights="-")
    assert type(login.credential).__name__ == kind


def test_a_managed_identity_is_the_machine_s_own_whatever_client_other_methods_use() -> None:
    runtime = Runtime(clock=_never, sleep=_never)
    made = azure.login(Values(_CLIENT | {"AZURE_AUTH_METHOD": "msi"}), TIMING, runtime, rights="-").credential
    assert _CLIENT["AZURE_CLIENT_ID"] not in _text_of(vars(made))


def _text_of(value: object, depth: int = 6) -> str:
    """Everything an object holds, some levels deep."""
    inside = vars(value) if hasattr(value, "__dict__") else value
    if depth and isinstance(inside, dict):
        return " ".join(_text_of(part, depth - 1) for part in inside.values())
    return repr(value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"AZURE_AUTH_METHOD": "env"}, "AZURE_CLIENT_SECRET"),
        ({"AZURE_AUTH_METHOD": "magic"}, "AZURE_AUTH_METHOD must be one of env"),
        ({"AZURE_AUTH_METHOD": "oidc"}, "AZURE_OIDC_REQUEST_URL"),
        ({"AZURE_ENVIRONMENT": "mars"}, "AZURE_ENVIRONMENT must be one of public"),
        ({"AZURE_CLIENT_CERTIFICATE_PATH": "/nowhere"}, "AZURE_CLIENT_CERTIFICATE_PATH"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, str], named: str) -> None:
    runtime = Runtime(clock=_never, sleep=_never)
    with pytest.raises(Misconfigured, match=named):
        azure.login(Values(_CLIENT | given), TIMING, runtime, rights="-")


class _Issuer(FakeApi):
    """The token endpoint of a job at GitHub: https://docs.github.com/actions/reference/openid-connect-reference."""

    def handle(self, request: Request) -> Response:
        asked = {"api-version": "2.0", "audience": "api://AzureADTokenExchange"}
        if request.headers.get("authorization") != "Bearer job-token":
            return json_response({"message": "no"}, 401)
        return json_response({"count": 1, "value": "told"} if request.query == asked else {})

    def add_zone(self, zone: str) -> None: ...

    def seed(self, zone: str, fqdn: str, value: str) -> None: ...

    def values(self, fqdn: str) -> list[str]:
        return []


def test_a_job_s_token_is_asked_for_where_the_job_says(tmp_path: Path) -> None:
    runtime = Runtime(clock=_never, sleep=_never)
    with _Issuer().serving() as url:
        given = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/token?api-version=2.0"}
        told = azure._assertion(Values({**given, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job-token"}), runtime, TIMING)
        assert told() == "told"
    path = tmp_path / "token"
    path.write_text("from the file\n")
    assert azure._assertion(Values({"AZURE_OIDC_TOKEN_FILE_PATH": str(path)}), runtime, TIMING)() == "from the file"


def _never(*_: object) -> Any:
    raise AssertionError("not asked for")
