"""DigitalOcean (https://docs.digitalocean.com/reference/api/reference/domain-records/)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from pydantic import BaseModel

from knit.core.names import a_labels
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, paged
from knit.providers.http.exchange import Body
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones

_URL = "https://api.digitalocean.com"
_TOKEN = Variable(names=("DO_AUTH_TOKEN",), help="API token", secret=True)
_BASE = Variable(names=("DO_API_URL",), help="address of the API", default=_URL)
_KNOBS = knobs("DO", timeout=60, interval=5, ttl=30, http=30)
_RIGHTS = "the scopes domain:read, domain:create, domain:update and domain:delete"

_SMALLEST_TTL = 30
_AT_ONCE = 200


class _Row(BaseModel):
    id: int
    type: str
    name: str
    data: str | None


class _Pages(BaseModel):
    next: str | None = None


class _Links(BaseModel):
    pages: _Pages = _Pages()


class _Rows(BaseModel):
    domain_records: list[_Row]
    links: _Links = _Links()


class DigitalOcean(Singles):
    """One token."""

    def __init__(self, token: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("digitalocean", self._domain, runtime.clock))
        sign = header("Authorization", f"Bearer {token}")
        account = Account(provider="digitalocean", rights=_RIGHTS, sign=sign, secrets=(token,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _domain(self, name: str) -> str | None:
        return None if self._api.get(f"/v2/domains/{quote(name)}", ok=MISSING).missing else name

    def _ids(self, place: Place) -> Iterator[str]:
        wanted = {"type": "TXT", "name": place.record.fqdn, "per_page": str(_AT_ONCE)}

        def fetch(page: int) -> tuple[list[_Row], int | None]:
            rows = self._api.get(_path(place), {**wanted, "page": str(page)}).parse(_Rows)
            return rows.domain_records, page + 1 if rows.links.pages.next else None

        for row in paged(fetch, 1):
            if (row.type, a_labels(row.name), row.data) == ("TXT", _name(place), place.value):
                yield str(row.id)

    def _create(self, place: Place) -> None:
        ttl = max(self.ttl, _SMALLEST_TTL)
        wanted = {"type": "TXT", "name": _name(place), "data": place.value, "ttl": ttl}
        self._api.call("POST", _path(place), Body(json=wanted))

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"{_path(place)}/{found}", ok=MISSING)


def _path(place: Place) -> str:
    return f"/v2/domains/{quote(place.zone)}/records"


def _name(place: Place) -> str:
    return place.name or "@"


def _build(values: Values, runtime: Runtime) -> Solver:
    return DigitalOcean(values.text(_TOKEN), _KNOBS.timing(values), runtime, url=values.text(_BASE))


PROVIDER = Provider(
    code="digitalocean",
    title="DigitalOcean",
    url="https://docs.digitalocean.com/reference/api/reference/domain-records/",
    required=((_TOKEN,),),
    variables=(_BASE,),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
)
