"""GoDaddy (https://developer.godaddy.com/doc/endpoint/domains).

Values are added one by one, but taken away only by replacing all TXT values of the name.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel

from knit.core.model.challenge import Record
from knit.ports.solving import Paced, ReplacesWhole, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api
from knit.providers.http.exchange import Body
from knit.providers.rewrite import rewrite
from knit.providers.zones import Zones, relative

_URL = "https://api.godaddy.com"
_KEY = Variable(names=("GODADDY_API_KEY",), help="API key", secret=True)
_SECRET = Variable(names=("GODADDY_API_SECRET",), help="API secret", secret=True)
_KNOBS = knobs("GODADDY", timeout=120, interval=2, ttl=600, http=30)
_RIGHTS = (
    "a production key of the account that holds the domain "
    "(GoDaddy opens this API only to accounts with 10 domains or more, or with a domain plan)"
)
_MINIMUM_TTL = 600
_UNUSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


class _Domain(BaseModel):
    domain: str


class _Row(BaseModel):
    data: str = ""
    ttl: int


class _Problem(BaseModel):
    code: str


class GoDaddy(Paced, ReplacesWhole):
    """One key and secret."""

    def __init__(self, key: str, secret: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing)
        sign = header("Authorization", f"sso-key {key}:{secret}")
        account = Account(provider="godaddy", rights=_RIGHTS, sign=sign, secrets=(key, secret))
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._zones = Zones("godaddy", self._domain, runtime.clock)
        self._sleep = runtime.sleep

    def replaces(self, record: Record) -> str:
        """Taking a value away replaces all TXT values of the name."""
        return record.fqdn

    def present(self, record: Record) -> None:
        """Add the value unless it is there."""
        zone, name = self._place(record)
        if any(row.data == record.value for row in self._read(zone, name)):
            return
        row = {"type": "TXT", "name": name, "data": record.value, "ttl": max(self.ttl, _MINIMUM_TTL)}
        path = f"/v1/domains/{quote(zone)}/records"
        reply = self._api.call("PATCH", path, Body(json=[row]), ok=(_UNUSABLE,))
        if reply.status == _UNUSABLE and reply.parse(_Problem).code != "DUPLICATE_RECORD":
            raise self._api.fail(reply)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Write back all TXT values of the name but this one."""
        zone, name = self._place(record)
        rewrite(
            f"godaddy: {record.fqdn}",
            self._sleep,
            lambda: self._read(zone, name),
            lambda rows: [row for row in rows if row.data != record.value],
            lambda rows: self._write(zone, name, rows),
        )

    def _place(self, record: Record) -> tuple[str, str]:
        zone, _ = self._zones.of(record)
        return zone, relative(record.fqdn, zone) or "@"

    def _domain(self, name: str) -> str | None:
        """A name that cannot be a registered domain at all is answered with 422."""
        reply = self._api.get(f"/v1/domains/{quote(name)}", ok=(*MISSING, _UNUSABLE))
        return None if reply.missing or reply.status == _UNUSABLE else reply.parse(_Domain).domain

    def _read(self, zone: str, name: str) -> list[_Row]:
        """Without the empty rows that GoDaddy shows at some names: it refuses them when they are written back."""
        reply = self._api.get(_path(zone, name), ok=MISSING)
        return [] if reply.missing else [row for row in reply.parse(list[_Row]) if row.data]

    def _write(self, zone: str, name: str, rows: list[_Row]) -> None:
        if rows:
            self._api.call("PUT", _path(zone, name), Body(json=[row.model_dump() for row in rows]))
        else:
            self._api.call("DELETE", _path(zone, name), ok=MISSING)


def _path(zone: str, name: str) -> str:
    return f"/v1/domains/{quote(zone)}/records/TXT/{quote(name)}"


def _build(values: Values, runtime: Runtime) -> Solver:
    return GoDaddy(values.text(_KEY), values.text(_SECRET), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="godaddy",
    title="GoDaddy",
    url="https://developer.godaddy.com/doc/endpoint/domains",
    required=((_KEY, _SECRET),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="GoDaddy's smallest TTL is 600 s; a smaller one is raised to it.",
)
