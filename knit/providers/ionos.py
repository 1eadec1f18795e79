"""IONOS hosting, not IONOS Cloud (https://developer.hosting.ionos.com/docs/dns)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel

from knit.core.names import a_labels
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, unquoted
from knit.providers.http.exchange import Body
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones, listed

_URL = "https://api.hosting.ionos.com/dns/v1"
_KEY = Variable(names=("IONOS_API_KEY",), help="API key, as prefix.secret", secret=True)
_KNOBS = knobs("IONOS", timeout=900, interval=2, ttl=300, http=30)
_RIGHTS = "to be an API key of the contract that holds the domain, written as prefix.secret"
_MINIMUM_TTL = 60
_MAYBE_THERE = (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT)


class _Zone(BaseModel):
    id: str
    name: str


class _Row(BaseModel):
    id: str
    name: str
    type: str
    content: str


class _Filled(BaseModel):
    records: list[_Row]


class Ionos(Singles):
    """One contract."""

    def __init__(self, key: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("ionos", listed(self._all, runtime.clock), runtime.clock))
        secrets = (key, key.partition(".")[2])
        account = Account(provider="ionos", rights=_RIGHTS, sign=header("X-API-Key", key), secrets=secrets)
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _all(self) -> Mapping[str, str]:
        return {a_labels(zone.name): zone.id for zone in self._api.get("/zones").parse(list[_Zone])}

    def _ids(self, place: Place) -> Iterator[str]:
        fqdn = place.record.fqdn
        wanted = {"recordName": fqdn, "recordType": "TXT"}
        for row in self._api.get(_path(place), wanted).parse(_Filled).records:
            if (a_labels(row.name), row.type) == (fqdn, "TXT") and unquoted(row.content) == place.value:
                yield row.id

    def _create(self, place: Place) -> None:
        """A create whose answer was lost is sent again: being refused is no harm when the value is there."""
        ttl = max(self.ttl, _MINIMUM_TTL)
        row = {"name": place.record.fqdn, "type": "TXT", "content": place.value, "ttl": ttl, "disabled": False}
        reply = self._api.call("POST", f"{_path(place)}/records", Body(json=[row]), ok=_MAYBE_THERE)
        if reply.status in _MAYBE_THERE and not any(self._ids(place)):
            raise self._api.fail(reply)

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"{_path(place)}/records/{quote(found)}", ok=MISSING)


def _path(place: Place) -> str:
    return f"/zones/{quote(place.zone_id)}"


def _build(values: Values, runtime: Runtime) -> Solver:
    return Ionos(values.text(_KEY), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="ionos",
    title="IONOS",
    url="https://developer.hosting.ionos.com/docs/dns",
    required=((_KEY,),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
)
