"""A server of the user's own that sets and removes the record (https://go-acme.github.io/lego/dns/httpreq/).

Default mode: POST /present and /cleanup with `fqdn` and `value`; HTTPREQ_MODE=RAW: with `domain`, `token`, `keyAuth`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from knit.core.model.challenge import Record
from knit.errors import Misconfigured
from knit.ports.solving import Paced, ReplacesWhole, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, Signer, anonymous, basic
from knit.providers.http.api import Api
from knit.providers.http.exchange import Body

_ENDPOINT = Variable(names=("HTTPREQ_ENDPOINT",), help="address of the server")
_MODE = Variable(names=("HTTPREQ_MODE",), help="RAW: send domain, token and key authorization in place of the record")
_USER = Variable(names=("HTTPREQ_USERNAME",), help="user name, where the server wants basic authentication")
_PASSWORD = Variable(names=("HTTPREQ_PASSWORD",), help="password, where the server wants it", secret=True)
_KNOBS = knobs("HTTPREQ", timeout=60, interval=2, ttl=None, http=30)
_RIGHTS = "whatever the server wants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the server is, and who we are to it; `raw` sends lego's raw members."""

    url: str
    user: str | None = None
    password: str | None = field(repr=False, default=None)
    raw: bool = False


class HttpReq(Paced, ReplacesWhole):
    """One server. A user name, a password and a query in its address are taken out of it and sent all the same."""

    def __init__(self, endpoint: Endpoint, timing: Timing, runtime: Runtime) -> None:
        super().__init__(timing)
        parts = urlsplit(endpoint.url)
        user = endpoint.user or unquote(parts.username or "")
        password = endpoint.password or unquote(parts.password or "")
        self._query = dict(parse_qsl(parts.query, keep_blank_values=True))
        sign: Signer = basic(user, password) if user or password else anonymous
        secrets = (password, *self._query.values())
        account = Account(provider="httpreq", rights=_RIGHTS, sign=sign, secrets=secrets)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._raw = endpoint.raw

    def replaces(self, record: Record) -> str:
        """What the server behind it rewrites is its affair, and may be a whole zone file."""
        return record.zone

    def present(self, record: Record) -> None:
        """POST /present."""
        self._post("/present", record)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """POST /cleanup."""
        self._post("/cleanup", record)

    def _post(self, path: str, record: Record) -> None:
        challenge = record.challenge
        body = {"fqdn": f"{record.fqdn}.", "value": record.value}
        if self._raw:
            token, authorization = challenge.token, challenge.key_authorization
            body = {"domain": challenge.identifier, "token": token, "keyAuth": authorization}
        self._api.call("POST", path, Body(json=body, params=self._query))


def _build(values: Values, runtime: Runtime) -> Solver:
    mode = (values.get(_MODE) or "").upper()
    if mode not in {"", "RAW"}:
        raise Misconfigured(f"{_MODE.name} must be RAW or unset, not {mode!r}")
    url = values.text(_ENDPOINT)
    if not url.startswith(("https://", "http://")):
        raise Misconfigured(f"{_ENDPOINT.name} must start with https:// or http://")
    endpoint = Endpoint(url=url, user=values.get(_USER), password=values.get(_PASSWORD), raw=mode == "RAW")
    try:
        return HttpReq(endpoint, _KNOBS.timing(values), runtime)
    except ValueError:
        raise Misconfigured(f"{_ENDPOINT.name} is not an address") from None


PROVIDER = Provider(
    code="httpreq",
    title="HTTP request",
    url="https://go-acme.github.io/lego/dns/httpreq/",
    required=((_ENDPOINT,),),
    variables=(_MODE, _USER, _PASSWORD),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="A call may come twice, after an answer that was lost: setting a value that is there, and removing one that "
    "is not, must be answered with success.",
)
