"""PowerDNS Authoritative Server (https://doc.powerdns.com/authoritative/http-api/).

The API has record sets only, so adding or removing one value is: read the set, change it, write it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from knit.errors import Misconfigured
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, quoted, unquoted
from knit.providers.http.exchange import Body
from knit.providers.sets import Edit, Sets, Texts
from knit.providers.singles import Place
from knit.providers.zones import Zones

_KEY = Variable(names=("PDNS_API_KEY",), help="the server's api-key", secret=True)
_URL = Variable(names=("PDNS_API_URL",), help="address of the server's web server, without /api")
_SERVER = Variable(names=("PDNS_SERVER_NAME",), help="name of the server in the API's paths", default="localhost")
_VERSION = Variable(names=("PDNS_API_VERSION",), help="version of the API: 1, or 0 to mean the same", default="0")
_KNOBS = knobs("PDNS", timeout=120, interval=2, ttl=120, http=30)
_RIGHTS = "the server's api-key, and our address in its webserver-allow-from"
_NO_ZONE = (*MISSING, HTTPStatus.UNPROCESSABLE_ENTITY)
_NOTIFYING = {"master", "primary", "producer"}


class _Zone(BaseModel):
    id: str
    kind: str


class _Record(BaseModel):
    """Members we do not know (newer servers have some) go back with the rest."""

    model_config = ConfigDict(extra="allow", frozen=True)

    content: str
    disabled: bool = False


class _RecordSet(BaseModel):
    name: str
    type: str
    ttl: int
    records: list[_Record]


class _Sets(BaseModel):
    rrsets: list[_RecordSet]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the API is and what opens it; `name` is the server's in the API's paths."""

    url: str
    key: str
    name: str = "localhost"


class PowerDns(Sets[_Record]):
    """One server."""

    def __init__(self, server: Server, timing: Timing, runtime: Runtime) -> None:
        super().__init__(timing, Zones("pdns", self._zone, runtime.clock), runtime)
        sign = header("X-API-Key", server.key)
        account = Account(provider="pdns", rights=_RIGHTS, sign=sign, secrets=(server.key,))
        base = f"{server.url.rstrip('/')}/api/v1/servers/{quote(server.name, safe='')}"
        self._api = Api(base, account, runtime, timeout=timing.http)
        self._notifying: dict[str, bool] = {}

    def _edit(self, place: Place, *, keep: bool) -> None:
        super()._edit(place, keep=keep)
        # Also when nothing had to be written: the last try may have ended between the two.
        if self._notifying[place.zone_id]:
            self._api.call("PUT", f"/zones/{quote(place.zone_id)}/notify")

    def _zone(self, name: str) -> str | None:
        """The zone's id; the API's answer for one it does not have is 404, or 422 in older servers."""
        reply = self._api.get(f"/zones/{quote(name)}.", {"rrsets": "false"}, ok=_NO_ZONE)
        if reply.status in _NO_ZONE:
            return None
        zone = reply.parse(_Zone)
        self._notifying[zone.id] = zone.kind.lower() in _NOTIFYING
        return zone.id

    def _read(self, place: Place) -> Texts[_Record]:
        """Older servers do not know the parameters and give the whole zone."""
        wanted = (f"{place.record.fqdn}.", "TXT")
        path = f"/zones/{quote(place.zone_id)}"
        reply = self._api.get(path, {"rrset_name": wanted[0], "rrset_type": wanted[1]})
        for found in reply.parse(_Sets).rrsets:
            if (found.name.lower(), found.type) == wanted:
                return Texts(ttl=found.ttl, values=tuple(found.records))
        return Texts(ttl=self.ttl)

    def _write(self, place: Place, edit: Edit[_Record]) -> None:
        wanted: dict[str, object] = {"name": f"{place.record.fqdn}.", "type": "TXT", "changetype": "DELETE"}
        if edit.after.values:
            records = [row.model_dump() for row in edit.after.values]
            wanted |= {"changetype": "REPLACE", "ttl": edit.after.ttl, "records": records}
        self._api.call("PATCH", f"/zones/{quote(place.zone_id)}", Body(json={"rrsets": [wanted]}, again=True))

    def _plain(self, value: _Record) -> str:
        return unquoted(value.content)

    def _written(self, text: str) -> _Record:
        return _Record(content=quoted(text))

    def _shows(self, value: _Record) -> bool:
        return not value.disabled


def _build(values: Values, runtime: Runtime) -> Solver:
    if values.integer(_VERSION) > 1:
        raise Misconfigured(f"{_VERSION.name} must be 0 or 1, not {values.text(_VERSION)!r}")
    server = Server(url=values.text(_URL), key=values.text(_KEY), name=values.text(_SERVER))
    return PowerDns(server, _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="pdns",
    title="PowerDNS",
    url="https://doc.powerdns.com/authoritative/http-api/",
    required=((_KEY, _URL),),
    variables=(_SERVER, _VERSION),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="PowerDNS 4.0 or later. The secondaries of a primary zone are notified after each change.",
)
