"""Hetzner (https://docs.hetzner.cloud/reference/cloud#tag/zone-rrset-actions).

DNS belongs to the Cloud API now; the old DNS Console (https://dns.hetzner.com/api-docs) is for those who still have
a key of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from pydantic import BaseModel

from knit.core.model.challenge import Record
from knit.errors import Unreachable
from knit.ports.solving import Paced, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, paged, quoted, unquoted
from knit.providers.http.exchange import Body, Reply
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones, relative

_URL = "https://api.hetzner.cloud/v1"
_CONSOLE_URL = "https://dns.hetzner.com/api/v1"
_TOKEN = Variable(names=("HETZNER_API_TOKEN",), help="API token of the Cloud project that has the zones", secret=True)
_KEY = Variable(names=("HETZNER_API_KEY",), help="token of the old DNS Console, instead", secret=True)
_KNOBS = knobs("HETZNER", timeout=60, interval=2, ttl=120, http=30)
_CONSOLE_KNOBS = knobs("HETZNER", timeout=120, interval=2, ttl=60, http=30)
_RIGHTS = "a token with the permission Read & Write, of the project that has the zone"

_SMALLEST_TTL = 60
_CONFLICT, _UNPROCESSABLE, _LOCKED = 409, 422, 423
_TRIES = 4


class _Value(BaseModel):
    value: str


class _Set(BaseModel):
    ttl: int | None = None
    records: list[_Value] = []


class _Found(BaseModel):
    rrset: _Set


class _Action(BaseModel):
    id: int
    status: str


class _Started(BaseModel):
    action: _Action


class Hetzner(Paced):
    """One project of the Cloud API: values are added to and removed from a record set by the server itself."""

    def __init__(self, token: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing)
        sign = header("Authorization", f"Bearer {token}")
        account = Account(provider="hetzner", rights=_RIGHTS, sign=sign, secrets=(token,))
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._zones = Zones("hetzner", self._zone, runtime.clock)
        self._sleep = runtime.sleep

    def present(self, record: Record) -> None:
        """Add the value; the TTL of a set that is there must stay as it is."""
        path, own = self._path(record), max(self.ttl, _SMALLEST_TTL)
        for _ in range(_TRIES):
            found = self._read(path)
            if _texts(found, record):
                return
            ttl = {} if found.records and found.ttl is None else {"ttl": found.ttl or own}
            if self._changed(path, "add_records", {"records": [{"value": quoted(record.value)}], **ttl}):
                return
        raise self._busy()

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Remove the value; Hetzner deletes a set that becomes empty."""
        path = self._path(record)
        for _ in range(_TRIES):
            texts = _texts(self._read(path), record)
            if not texts or self._changed(path, "remove_records", {"records": [{"value": text} for text in texts]}):
                return
        raise self._busy()

    def _zone(self, name: str) -> str | None:
        return None if self._api.get(f"/zones/{quote(name)}", ok=MISSING).missing else name

    def _path(self, record: Record) -> str:
        zone, _ = self._zones.of(record)
        name = relative(record.fqdn, zone) or "@"
        return f"/zones/{quote(zone)}/rrsets/{quote(name, safe='@')}/TXT"

    def _read(self, path: str) -> _Set:
        reply = self._api.get(path, ok=MISSING)
        return _Set() if reply.missing else reply.parse(_Found).rrset

    def _changed(self, path: str, action: str, wanted: dict[str, object]) -> bool:
        """Whether the change is done; False when the zone was busy, or not as it had just been read."""
        again = (*MISSING, _CONFLICT, _UNPROCESSABLE, _LOCKED)
        reply = self._api.call("POST", f"{path}/actions/{action}", Body(json=wanted), ok=again)
        if reply.status not in again:
            self._wait(reply)
            return True
        if reply.status == _UNPROCESSABLE and "already exists" not in reply.said.lower():
            raise self._api.fail(reply)
        self._sleep(1.0)
        return False

    def _wait(self, reply: Reply) -> None:
        """Until it is done, for as long as a record may take to show."""
        for _ in range(max(1, int(self.timeout))):
            action = reply.parse(_Started).action
            if action.status == "success":
                return
            if action.status != "running":
                raise Unreachable(f"hetzner could not make the change: {reply.said}")
            self._sleep(1.0)
            reply = self._api.get(f"/actions/{action.id}")
        raise Unreachable("hetzner is still busy with the change")

    @staticmethod
    def _busy() -> Unreachable:
        return Unreachable("hetzner: the zone is busy with other changes, or just gone")


def _texts(found: _Set, record: Record) -> list[str]:
    return [held.value for held in found.records if unquoted(held.value) == record.value]


class _ConsoleZone(BaseModel):
    id: str
    name: str


class _ConsoleZones(BaseModel):
    zones: list[_ConsoleZone]


class _ConsoleRow(BaseModel):
    id: str
    type: str
    name: str
    value: str


class _Pagination(BaseModel):
    page: int
    last_page: int


class _Meta(BaseModel):
    pagination: _Pagination


class _ConsoleRows(BaseModel):
    records: list[_ConsoleRow]
    meta: _Meta


class HetznerConsole(Singles):
    """One account of the old DNS Console."""

    def __init__(self, key: str, timing: Timing, runtime: Runtime, *, url: str = _CONSOLE_URL) -> None:
        super().__init__(timing, Zones("hetzner", self._zone_id, runtime.clock))
        sign = header("Auth-API-Token", key)
        account = Account(provider="hetzner", rights=_RIGHTS, sign=sign, secrets=(key,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _zone_id(self, name: str) -> str | None:
        reply = self._api.get("/zones", {"name": name}, ok=MISSING)
        zones = [] if reply.missing else reply.parse(_ConsoleZones).zones
        return next((zone.id for zone in zones if zone.name == name), None)

    def _ids(self, place: Place) -> Iterator[str]:
        def fetch(page: int) -> tuple[list[_ConsoleRow], int | None]:
            wanted = {"zone_id": place.zone_id, "page": str(page), "per_page": "100"}
            rows = self._api.get("/records", wanted).parse(_ConsoleRows)
            pages = rows.meta.pagination
            return rows.records, page + 1 if pages.page < pages.last_page else None

        for row in paged(fetch, 1):
            if (row.type, row.name, unquoted(row.value)) == ("TXT", place.name or "@", place.value):
                yield row.id

    def _create(self, place: Place) -> None:
        ttl = max(self.ttl, _SMALLEST_TTL)
        wanted = {"zone_id": place.zone_id, "type": "TXT", "name": place.name or "@", "value": place.value, "ttl": ttl}
        self._api.call("POST", "/records", Body(json=wanted))

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"/records/{quote(found)}", ok=MISSING)


def _build(values: Values, runtime: Runtime) -> Solver:
    if values.choose(_REQUIRED) == 1:
        return HetznerConsole(values.text(_KEY), _CONSOLE_KNOBS.timing(values), runtime)
    return Hetzner(values.text(_TOKEN), _KNOBS.timing(values), runtime)


_REQUIRED = ((_TOKEN,), (_KEY,))

PROVIDER = Provider(
    code="hetzner",
    title="Hetzner",
    url="https://docs.hetzner.cloud/reference/cloud#tag/zone-rrset-actions",
    required=_REQUIRED,
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="HETZNER_API_KEY is for zones still in the old DNS Console, which Hetzner is closing; with it, records have "
    "120 s to show and a TTL of 60 s by default.",
)
