"""Infomaniak, API version 2 (https://developer.infomaniak.com/docs/api/get/2/zones/%7Bzone%7D/records)."""

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

_ENDPOINT = Variable(names=("INFOMANIAK_ENDPOINT",), help="the API's address", default="https://api.infomaniak.com")
_TOKEN = Variable(names=("INFOMANIAK_ACCESS_TOKEN",), help="API token of the account", secret=True)
_KNOBS = knobs("INFOMANIAK", timeout=120, interval=10, ttl=300, http=30)
_RIGHTS = "the scopes dns:read and dns:write, and the domain in the same account"

_APEX = ("", ".")


class _Exists(BaseModel):
    data: bool


class _Row(BaseModel):
    id: int
    type: str
    source: str
    target: str


class _Page(BaseModel):
    data: list[_Row]
    pages: int = 1


class Infomaniak(Singles):
    """One account."""

    def __init__(self, token: str, timing: Timing, runtime: Runtime, *, url: str) -> None:
        super().__init__(timing, Zones("infomaniak", self._zone, runtime.clock))
        sign = header("Authorization", f"Bearer {token}")
        account = Account(provider="infomaniak", rights=_RIGHTS, sign=sign, secrets=(token,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _zone(self, name: str) -> str | None:
        reply = self._api.get(f"/2/zones/{quote(name)}/exists", ok=MISSING)
        return name if not reply.missing and reply.parse(_Exists).data else None

    def _ids(self, place: Place) -> Iterator[str]:
        def fetch(page: int) -> tuple[list[_Row], int | None]:
            wanted = {
                "filter[source]": place.name or ".",
                "filter[types][]": "TXT",
                "page": str(page),
                "per_page": "100",
            }
            found = self._api.get(_path(place), wanted).parse(_Page)
            return found.data, page + 1 if page < found.pages else None

        return (str(row.id) for row in paged(fetch, 1) if _is(row, place))

    def _create(self, place: Place) -> None:
        wanted = {"type": "TXT", "source": place.name or ".", "target": quoted(place.value), "ttl": self.ttl}
        self._api.call("POST", _path(place), Body(json=wanted))

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"{_path(place)}/{found}", ok=MISSING)


def _path(place: Place) -> str:
    return f"/2/zones/{quote(place.zone_id)}/records"


def _is(row: _Row, place: Place) -> bool:
    name = "" if row.source in _APEX else row.source
    return row.type == "TXT" and name == place.name and unquoted(row.target) == place.value


def _build(values: Values, runtime: Runtime) -> Solver:
    return Infomaniak(values.text(_TOKEN), _KNOBS.timing(values), runtime, url=values.text(_ENDPOINT))


PROVIDER = Provider(
    code="infomaniak",
    title="Infomaniak",
    url="https://developer.infomaniak.com/docs/api/get/2/zones/%7Bzone%7D/records",
    required=((_TOKEN,),),
    variables=(_ENDPOINT,),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
)
