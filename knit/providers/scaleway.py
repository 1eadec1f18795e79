"""Scaleway Domains and DNS (https://www.scaleway.com/en/developers/api/domains-and-dns/)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from pydantic import BaseModel

from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, paged, quoted, unquoted
from knit.providers.http.exchange import Body
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones

_URL = "https://api.scaleway.com/domain/v2beta1"
_SECRET = Variable(names=("SCW_SECRET_KEY", "SCALEWAY_API_TOKEN"), help="secret key of an API key", secret=True)
_PROJECT = Variable(
    names=("SCW_PROJECT_ID", "SCALEWAY_PROJECT_ID"),
    help="not used, as in lego: what counts is which zones the key may change",
)
_ACCESS = Variable(names=("SCW_ACCESS_KEY", "SCALEWAY_ACCESS_KEY"), help="access key (the DNS API does not ask for it)")
_KNOBS = knobs("SCW", "SCALEWAY", timeout=120, interval=10, ttl=60, http=30)
_RIGHTS = "the permission set DomainsDNSFullAccess in the project that holds the zone"
_PAGE = "100"
_MINIMUM_TTL = 60


class _Zone(BaseModel):
    domain: str
    subdomain: str

    @property
    def name(self) -> str:
        return f"{self.subdomain}.{self.domain}".lstrip(".")


class _Zones(BaseModel):
    total_count: int
    dns_zones: list[_Zone]


class _Row(BaseModel):
    id: str
    name: str
    type: str
    data: str


class _Rows(BaseModel):
    total_count: int
    records: list[_Row]


class Scaleway(Singles):
    """One API key: what it may see is what there is, in whichever project."""

    def __init__(self, secret: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("scaleway", self._zone, runtime.clock))
        sign = header("X-Auth-Token", secret)
        account = Account(provider="scaleway", rights=_RIGHTS, sign=sign, secrets=(secret,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _zone(self, name: str) -> str | None:
        def fetch(page: int) -> tuple[list[_Zone], int | None]:
            wanted = {"dns_zone": name, "page": str(page), "page_size": _PAGE}
            found = self._api.get("/dns-zones", wanted).parse(_Zones)
            return found.dns_zones, _following(page, len(found.dns_zones), found.total_count)

        return next((name for zone in paged(fetch, 1) if zone.name == name), None)

    def _ids(self, place: Place) -> Iterator[str]:
        def fetch(page: int) -> tuple[list[_Row], int | None]:
            wanted = {"name": place.name, "type": "TXT", "page": str(page), "page_size": _PAGE}
            found = self._api.get(_path(place), wanted).parse(_Rows)
            return found.records, _following(page, len(found.records), found.total_count)

        # Without a name (the zone's own) the filter lets all names pass.
        for row in paged(fetch, 1):
            if (row.name, row.type) == (place.name, "TXT") and unquoted(row.data) == place.value:
                yield row.id

    def _create(self, place: Place) -> None:
        ttl = max(self.ttl, _MINIMUM_TTL)
        row = {"name": place.name, "type": "TXT", "data": quoted(place.value), "ttl": ttl}
        self._change(place, {"add": {"records": [row]}})

    def _delete(self, place: Place, found: str) -> None:
        self._change(place, {"delete": {"id": found}})

    def _change(self, place: Place, change: dict[str, object]) -> None:
        wanted = {"changes": [change], "return_all_records": False, "disallow_new_zone_creation": True}
        self._api.call("PATCH", _path(place), Body(json=wanted), ok=MISSING if "delete" in change else ())


def _path(place: Place) -> str:
    return f"/dns-zones/{quote(place.zone_id)}/records"


def _following(page: int, shown: int, total: int) -> int | None:
    """The next page's number; a page may be shorter than asked for."""
    return page + 1 if shown and page * shown < total else None


def _build(values: Values, runtime: Runtime) -> Solver:
    return Scaleway(values.text(_SECRET), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="scaleway",
    title="Scaleway",
    url="https://www.scaleway.com/en/developers/api/domains-and-dns/",
    required=((_SECRET,),),
    variables=(_PROJECT, _ACCESS),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
)
