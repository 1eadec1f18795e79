"""PowerDNS Authoritative Server (https://doc.powerdns.com/authoritative/http-api/).

The API has record sets only, so adding or removing one value is: read the set, change it, write it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel

from knit.core.model import Record
from knit.errors import Misconfigured
from knit.ports import Solver
from knit.solvers.base import Paced, Provider, ReplacesWhole, Runtime, Timing, Values, Variable, knobs
from knit.solvers.http import MISSING, Account, Api, Body, header, quoted, unquoted
from knit.solvers.rewrite import rewrite
from knit.solvers.zones import Zones

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
class _Text:
    value: str
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """TXT records at one name and their TTL (seconds)."""

    ttl: int
    records: tuple[_Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the API is and what opens it; `name` is the server's in the API's paths."""

    url: str
    key: str
    name: str = "localhost"


class PowerDns(Paced, ReplacesWhole):
    """One server."""

    def __init__(self, server: Server, timing: Timing, runtime: Runtime) -> None:
        super().__init__(timing)
        sign = header("X-API-Key", server.key)
        account = Account(provider="pdns", rights=_RIGHTS, sign=sign, secrets=(server.key,))
        base = f"{server.url.rstrip('/')}/api/v1/servers/{quote(server.name, safe='')}"
        self._api = Api(base, account, runtime, timeout=timing.http)
        self._zones = Zones("pdns", self._zone, runtime.clock)
        self._sleep = runtime.sleep

    def replaces(self, record: Record) -> str:
        """A write replaces the whole record set."""
        return record.fqdn

    def present(self, record: Record) -> None:
        """Write the set with the value in it."""
        self._change(record, add=(_Text(value=record.value),))

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Write the set without the value, or delete the set when that was all."""
        self._change(record, add=())

    def _change(self, record: Record, *, add: tuple[_Text, ...]) -> None:
        _, zone = self._zones.of(record)
        path = f"/zones/{quote(zone.id)}"

        def change(texts: _Texts) -> _Texts:
            ours = tuple(text for text in texts.records if text.value == record.value)
            others = tuple(text for text in texts.records if text.value != record.value)
            return texts if ours == add else replace(texts, records=others + add)

        rewrite(
            f"pdns: {record.fqdn}",
            self._sleep,
            lambda: self._read(path, record.fqdn),
            change,
            lambda texts: self._write(path, record.fqdn, texts),
        )
        # Also when nothing had to be written: the last try may have ended between the two.
        if zone.kind.lower() in _NOTIFYING:
            self._api.call("PUT", f"{path}/notify")

    def _zone(self, name: str) -> _Zone | None:
        """The zone; the API's answer for one it does not have is 404, or 422 in older servers."""
        reply = self._api.get(f"/zones/{quote(name)}.", {"rrsets": "false"}, ok=_NO_ZONE)
        return None if reply.status in _NO_ZONE else reply.parse(_Zone)

    def _read(self, path: str, fqdn: str) -> _Texts:
        """Older servers do not know the parameters and give the whole zone."""
        wanted = (f"{fqdn}.", "TXT")
        reply = self._api.get(path, {"rrset_name": wanted[0], "rrset_type": wanted[1]})
        found = (each for each in reply.parse(_Sets).rrsets if (each.name.lower(), each.type) == wanted)
        texts = next(found, None)
        if texts is None:
            return _Texts(ttl=self.ttl, records=())
        records = (_Text(value=unquoted(each.content), disabled=each.disabled) for each in texts.records)
        return _Texts(ttl=texts.ttl, records=tuple(records))

    def _write(self, path: str, fqdn: str, texts: _Texts) -> None:
        wanted: dict[str, object] = {"name": f"{fqdn}.", "type": "TXT", "changetype": "DELETE"}
        if texts.records:
            records = [{"content": quoted(text.value), "disabled": text.disabled} for text in texts.records]
            wanted |= {"changetype": "REPLACE", "ttl": texts.ttl, "records": records}
        self._api.call("PATCH", path, Body(json={"rrsets": [wanted]}))


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
