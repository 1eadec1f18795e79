"""Who we are at Azure: one of azure-identity's credentials, chosen as lego chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel

from knit.errors import CredentialsRejected, Misconfigured, Unreachable
from knit.ports.solving import Timing
from knit.providers.base import LIBRARY, UNLIMITED, Runtime, Values, Variable
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import Api

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_ENVIRONMENT = Variable(names=("AZURE_ENVIRONMENT",), help="public, usgovernment or china", default="public")
_METHOD = Variable(names=("AZURE_AUTH_METHOD",), help="env, wli, msi, cli, oidc or pipeline; else the first that works")
_TENANT = Variable(names=("AZURE_TENANT_ID",), help="tenant id")
_CLIENT = Variable(
    names=("AZURE_CLIENT_ID",),
    help="client id of the application; msi: not used",
)
_SECRET = Variable(names=("AZURE_CLIENT_SECRET",), help="client secret", secret=True)
_CERTIFICATE = Variable(names=("AZURE_CLIENT_CERTIFICATE_PATH",), help="path of the client's certificate and key")
_PASSWORD = Variable(names=("AZURE_CLIENT_CERTIFICATE_PASSWORD",), help="password of that key", secret=True)
_FEDERATED = Variable(names=("AZURE_FEDERATED_TOKEN_FILE",), help="wli: path of the federated token")
_MSI_TIMEOUT = Variable(names=("AZURE_AUTH_MSI_TIMEOUT",), help="msi: seconds one call may take", default="2")
_OIDC_TOKEN = Variable(names=("AZURE_OIDC_TOKEN",), help="oidc: the token", secret=True)
_OIDC_PATH = Variable(names=("AZURE_OIDC_TOKEN_FILE_PATH",), help="oidc: path of the token")
_OIDC_URL = Variable(
    names=("AZURE_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL", "ARM_OIDC_REQUEST_URL"),
    help="oidc: where to ask for a token",
)
_OIDC_BEARER = Variable(
    names=("AZURE_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ARM_OIDC_REQUEST_TOKEN"),
    help="oidc: what to show there",
    secret=True,
)
_CONNECTION = Variable(
    names=(
        "AZURE_SERVICE_CONNECTION_ID",
        "SERVICE_CONNECTION_ID",
        "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID",
        "ARM_OIDC_AZURE_SERVICE_CONNECTION_ID",
    ),
    help="pipeline: id of the service connection",
)
_SYSTEM = Variable(
    names=("AZURE_SYSTEM_ACCESS_TOKEN", "ARM_OIDC_REQUEST_TOKEN", "SYSTEM_ACCESSTOKEN"),
    help="pipeline: its access token",
    secret=True,
)

VARIABLES = (
    *(_ENVIRONMENT, _METHOD, _TENANT, _CLIENT, _SECRET, _CERTIFICATE, _PASSWORD, _FEDERATED, _MSI_TIMEOUT),
    *(_OIDC_TOKEN, _OIDC_PATH, _OIDC_URL, _OIDC_BEARER, _CONNECTION, _SYSTEM),
)

_AUDIENCE = "api://AzureADTokenExchange"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One of Azure's clouds: who signs us in, where resources are managed, what a token is asked for."""

    authority: str
    url: str
    scope: str


_CLOUDS = {
    "public": Cloud(
        authority="https://login.microsoftonline.com",
        url="https://management.azure.com",
        scope="https://management.core.windows.net//.default",
    ),
    "usgovernment": Cloud(
        authority="https://login.microsoftonline.us",
        url="https://management.usgovcloudapi.net",
        scope="https://management.core.usgovcloudapi.net//.default",
    ),
    "china": Cloud(
        authority="https://login.chinacloudapi.cn",
        url="https://management.chinacloudapi.cn",
        scope="https://management.core.chinacloudapi.cn//.default",
    ),
}


class _Issued(BaseModel):
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Gives access tokens; azure-identity keeps and renews them."""

    credential: TokenCredential
    scope: str
    rights: str

    def token(self) -> str:
        """A token that is good for some minutes. Raises CredentialsRejected, Unreachable."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            return self.credential.get_token(self.scope).token
        except ClientAuthenticationError as e:
            said = " ".join(str(e.message).split())[:300]
            raise CredentialsRejected(f"azuredns: no access token: {said}; it needs {self.rights}") from None
        except (AzureError, ValueError) as e:
            raise Unreachable(f"azuredns: no access token ({type(e).__name__})") from None


def cloud(values: Values) -> Cloud:
    """Which of Azure's clouds. Raises Misconfigured."""
    name = values.text(_ENVIRONMENT)
    if name not in _CLOUDS:
        raise Misconfigured(f"{_ENVIRONMENT.name} must be one of {', '.join(_CLOUDS)}, not {name!r}")
    return _CLOUDS[name]


def login(values: Values, timing: Timing, runtime: Runtime, *, rights: str) -> Login:
    """By the settings. Raises Misconfigured for missing ones, and without azure-identity."""
    try:
        import azure.identity  # noqa: F401 - only whether it is there
    except ImportError:
        raise Misconfigured("Azure's authentication needs azure-identity: install knit-certs[azuredns]") from None
    where, method = cloud(values), (values.get(_METHOD) or "").lower()
    if method and method not in _METHODS:
        raise Misconfigured(f"{_METHOD.name} must be one of {', '.join(_METHODS)}, not {method!r}")
    seconds = min(timing.http, LIBRARY)
    limits = {
        "connection_timeout": seconds,
        "read_timeout": seconds,
        "retry_total": 1,
        "connection_verify": runtime.trust.bundle(),
    }
    options = {"authority": where.authority, **limits}
    given = _Given(values=values, options=options, timing=timing, runtime=runtime)
    try:
        credential = _METHODS.get(method, _first)(given)
    except (ValueError, OSError):
        named = ", ".join(variable.name for variable in (_TENANT, _CLIENT, _CERTIFICATE, _OIDC_URL))
        raise Misconfigured(f"no credential can be made of what {named} say") from None
    return Login(credential=credential, scope=where.scope, rights=rights)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What a credential is made of; `options` are those of every one that talks to the authority."""

    values: Values
    options: dict[str, Any]
    timing: Timing
    runtime: Runtime

    def has(self, *variables: Variable) -> bool:
        return all(self.values.get(variable) is not None for variable in variables)

    @property
    def client(self) -> tuple[str, str]:
        return self.values.text(_TENANT), self.values.text(_CLIENT)


def _first(given: _Given) -> TokenCredential:
    from azure import identity

    if given.has(_TENANT, _CLIENT) and (given.has(_SECRET) or given.has(_CERTIFICATE)):
        return _env(given)
    return identity.DefaultAzureCredential(managed_identity_client_id=given.values.get(_CLIENT), **given.options)


def _env(given: _Given) -> TokenCredential:
    from azure import identity

    tenant, client = given.client
    if given.has(_CERTIFICATE) and not given.has(_SECRET):
        path, password = given.values.text(_CERTIFICATE), given.values.get(_PASSWORD)
        return identity.CertificateCredential(tenant, client, path, password=password, **given.options)
    return identity.ClientSecretCredential(tenant, client, given.values.text(_SECRET), **given.options)


def _workload(given: _Given) -> TokenCredential:
    from azure import identity

    tenant, client = given.client
    path = given.values.text(_FEDERATED)
    return identity.WorkloadIdentityCredential(
        tenant_id=tenant, client_id=client, token_file_path=path, **given.options
    )


def _managed(given: _Given) -> TokenCredential:
    from azure import identity

    seconds = given.values.seconds(_MSI_TIMEOUT, zero=UNLIMITED)
    limits: dict[str, Any] = {"connection_timeout": seconds, "read_timeout": seconds}
    # As in lego: AZURE_CLIENT_ID belongs to the other methods, and may be set for them.
    return identity.ManagedIdentityCredential(**limits)


def _cli(given: _Given) -> TokenCredential:
    from azure import identity

    return identity.AzureCliCredential(tenant_id=given.values.get(_TENANT) or "", process_timeout=8)


def _vouched(given: _Given) -> TokenCredential:
    from azure import identity

    tenant, client = given.client
    told = _assertion(given.values, given.runtime, given.timing)
    return identity.ClientAssertionCredential(tenant, client, told, **given.options)


def _pipeline(given: _Given) -> TokenCredential:
    from azure import identity

    tenant, client = given.client
    connection, token = given.values.text(_CONNECTION), given.values.text(_SYSTEM)
    return identity.AzurePipelinesCredential(
        tenant_id=tenant, client_id=client, service_connection_id=connection, system_access_token=token, **given.options
    )


_METHODS: dict[str, Callable[[_Given], TokenCredential]] = {
    "env": _env,
    "wli": _workload,
    "msi": _managed,
    "cli": _cli,
    "oidc": _vouched,
    "pipeline": _pipeline,
}


def _assertion(values: Values, runtime: Runtime, timing: Timing) -> Callable[[], str]:
    """How to get the token that another issuer vouches for us with."""
    token, path = values.get(_OIDC_TOKEN), values.get(_OIDC_PATH)
    if path is not None:
        return lambda: Path(path).read_text(encoding="utf-8").strip()
    if token is not None:
        return token.strip
    url, bearer = values.text(_OIDC_URL), values.text(_OIDC_BEARER)
    sign = header("Authorization", f"Bearer {bearer}")
    account = Account(provider="azuredns", rights="a token of this job", sign=sign, secrets=(bearer,))
    api = Api(url, account, runtime, timeout=timing.http)
    asked = {} if "audience" in parse_qs(urlsplit(url).query) else {"audience": _AUDIENCE}
    return lambda: api.get("", asked).parse(_Issued).value
