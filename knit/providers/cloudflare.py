"""Cloudflare (https://developers.cloudflare.com/api/resources/dns/subresources/records/)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import requests
from pydantic import BaseModel

from knit.core.model.challenge import Record
from knit.core.names import a_labels, u_labels
from knit.errors import Unreachable
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, Signer, header
from knit.providers.http.api import MISSING, Api, paged, quoted, unquoted
from knit.providers.http.exchange import Body, Reply
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones


def _variable(name: str, text: str, default: str | None = None, *, secret: bool = True) -> Variable:
    return Variable(names=(f"CLOUDFLARE_{name}", f"CF_{name}"), help=text, default=default, secret=secret)


_URL = "https://api.cloudflare.com/client/v4"
_DNS_TOKEN = _variable("DNS_API_TOKEN", "API token that may edit DNS (Zone.DNS: Edit)")
_ZONE_TOKEN = _variable("ZONE_API_TOKEN", "API token that may read zones, if the DNS token may not (Zone.Zone: Read)")
_EMAIL = Variable(names=("CLOUDFLARE_EMAIL", "CF_API_EMAIL"), help="e-mail address of the account")
_KEY = _variable("API_KEY", "global API key of the account")
_BASE = _variable("BASE_URL", "address of the API", _URL, secret=False)
_KNOBS = knobs("CLOUDFLARE", "CF", timeout=120, interval=2, ttl=120, http=30)
_RIGHTS = "Zone.DNS: Edit and Zone.Zone: Read for this zone"
_HINT = "a token sees only zones for which it has Zone.Zone: Read"

_SMALLEST_TTL = 60
_EXISTS = frozenset({81057, 81058})
_BAD_CREDENTIAL = frozenset({6003, 6103, 6111, 9103, 9106, 9109, 10000})


class _Problem(BaseModel):
    code: int


class _Problems(BaseModel):
    errors: list[_Problem]


class _Page(BaseModel):
    page: int
    per_page: int
    total_count: int


class _Zone(BaseModel):
    id: str
    name: str
    status: str


class _Zones(BaseModel):
    result: list[_Zone]


class _Row(BaseModel):
    id: str
    type: str
    name: str
    content: str = ""


class _Rows(BaseModel):
    result: list[_Row]
    result_info: _Page


def _key_and_email(key: str, email: str) -> Signer:
    def sign(request: requests.PreparedRequest) -> None:
        request.headers["X-Auth-Email"] = email
        request.headers["X-Auth-Key"] = key

    return sign


def by_token(token: str) -> Account:
    """An API token."""
    sign = header("Authorization", f"Bearer {token}")
    return Account(provider="cloudflare", rights=_RIGHTS, sign=sign, secrets=(token,))


def by_key(key: str, email: str) -> Account:
    """The account's global API key."""
    return Account(provider="cloudflare", rights=_RIGHTS, sign=_key_and_email(key, email), secrets=(key,))


class Cloudflare(Singles):
    """One set of credentials; `reader` finds the zones, `writer` edits their records."""

    def __init__(self, writer: Account, reader: Account, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("cloudflare", self._zone_id, runtime.clock, hint=_HINT))
        secrets = writer.secrets + reader.secrets
        self._reader = Api(url, replace(reader, secrets=secrets), runtime, timeout=timing.http)
        self._api = Api(url, replace(writer, secrets=secrets), runtime, timeout=timing.http)

    def present(self, record: Record) -> None:
        """Create the record without looking first: Cloudflare keeps no value twice, and calls are few (4 a second)."""
        self._create(self._place(record))

    def _zone_id(self, name: str) -> str | None:
        """International zones are kept, shown and, some of them, only found in letters; their records are in ASCII."""
        for asked in dict.fromkeys((name, u_labels(name))):
            reply = _call(self._reader, "GET", "/zones", Body(params={"name": asked, "per_page": "50"}))
            zones = [zone for zone in reply.parse(_Zones).result if a_labels(zone.name) == name]
            # Two accounts may have the zone; only the one it is delegated to is active.
            zones.sort(key=lambda zone: zone.status != "active")
            if zones:
                return zones[0].id
        return None

    def _ids(self, place: Place) -> Iterator[str]:
        def fetch(page: int) -> tuple[list[_Row], int | None]:
            wanted = {"type": "TXT", "name.exact": place.record.fqdn, "page": str(page), "per_page": "100"}
            reply = _call(self._api, "GET", f"/zones/{place.zone_id}/dns_records", Body(params=wanted))
            rows = reply.parse(_Rows)
            info = rows.result_info
            return rows.result, page + 1 if info.page * info.per_page < info.total_count else None

        for row in paged(fetch, 1):
            if (row.type, a_labels(row.name), unquoted(row.content)) == ("TXT", place.record.fqdn, place.value):
                yield row.id

    def _create(self, place: Place) -> None:
        wanted = {
            "type": "TXT",
            "name": place.record.fqdn,
            "content": quoted(place.value),
            "ttl": max(self.ttl, _SMALLEST_TTL),
        }
        _call(self._api, "POST", f"/zones/{place.zone_id}/dns_records", Body(json=wanted), fine=_EXISTS)

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"/zones/{place.zone_id}/dns_records/{found}", ok=MISSING)


def _call(api: Api, method: str, path: str, body: Body, fine: frozenset[int] = frozenset()) -> Reply:
    """Cloudflare says with status 400, and a number of its own, that a token is malformed or a record exists."""
    reply = api.call(method, path, body, ok=(400,))
    if reply.status != 400:
        return reply
    codes = _codes(reply)
    if codes & fine:
        return reply
    raise api.rejected(reply.said) if codes & _BAD_CREDENTIAL else api.fail(reply)


def _codes(reply: Reply) -> set[int]:
    try:
        return {problem.code for problem in reply.parse(_Problems).errors}
    except Unreachable:
        return set()


def _build(values: Values, runtime: Runtime) -> Solver:
    timing, url = _KNOBS.timing(values), values.text(_BASE)
    if values.choose(_REQUIRED) == 0:
        account = by_key(values.text(_KEY), values.text(_EMAIL))
        return Cloudflare(account, account, timing, runtime, url=url)
    token = values.text(_DNS_TOKEN)
    reader = by_token(values.get(_ZONE_TOKEN) or token)
    return Cloudflare(by_token(token), reader, timing, runtime, url=url)


_REQUIRED = ((_EMAIL, _KEY), (_DNS_TOKEN,))

PROVIDER = Provider(
    code="cloudflare",
    title="Cloudflare",
    url="https://developers.cloudflare.com/api/resources/dns/subresources/records/",
    required=_REQUIRED,
    variables=(_ZONE_TOKEN, _BASE),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="Where e-mail address and key are set, tokens are not used, as in lego.",
)
