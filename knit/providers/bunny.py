"""bunny.net (https://docs.bunny.net/api-reference/core/dns-zone/add-dns-record)."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, paged, unquoted
from knit.providers.http.exchange import Body
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones

_URL = "https://api.bunny.net"
_KEY = Variable(names=("BUNNY_API_KEY",), help="API key of the account", secret=True)
_KNOBS = knobs("BUNNY", timeout=120, interval=2, ttl=60, http=30)
_RIGHTS = "the API key of the account (not the password of a storage zone)"

_TXT = 3
_IS_TXT = (_TXT, "TXT")  # answers name the type by number or, by newer documentation, by name


class _Zone(BaseModel):
    Id: int
    Domain: str


class _Zones(BaseModel):
    Items: list[_Zone]
    HasMoreItems: bool


class _Row(BaseModel):
    Id: int
    Type: int | str
    Name: str | None
    Value: str | None


class _Filled(BaseModel):
    Records: list[_Row]


class Bunny(Singles):
    """One account."""

    def __init__(self, key: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("bunny", self._zone_id, runtime.clock))
        sign = header("AccessKey", key)
        account = Account(provider="bunny", rights=_RIGHTS, sign=sign, secrets=(key,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _zone_id(self, name: str) -> str | None:
        def fetch(page: int) -> tuple[list[_Zone], int | None]:
            wanted = {"search": name, "page": str(page), "perPage": "1000"}
            found = self._api.get("/dnszone", wanted).parse(_Zones)
            return found.Items, page + 1 if found.HasMoreItems else None

        # The search also finds zones that only contain the name.
        return next((str(zone.Id) for zone in paged(fetch, 1) if zone.Domain == name), None)

    def _ids(self, place: Place) -> Iterator[str]:
        for row in self._api.get(f"/dnszone/{place.zone_id}").parse(_Filled).Records:
            if row.Type in _IS_TXT and (row.Name or "") == place.name and unquoted(row.Value or "") == place.value:
                yield str(row.Id)

    def _create(self, place: Place) -> None:
        wanted = {"Type": _TXT, "Name": place.name, "Value": place.value, "Ttl": self.ttl}
        self._api.call("PUT", f"/dnszone/{place.zone_id}/records", Body(json=wanted))

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"/dnszone/{place.zone_id}/records/{found}", ok=MISSING)


def _build(values: Values, runtime: Runtime) -> Solver:
    return Bunny(values.text(_KEY), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="bunny",
    title="bunny.net",
    url="https://docs.bunny.net/api-reference/core/dns-zone/add-dns-record",
    required=((_KEY,),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
)
