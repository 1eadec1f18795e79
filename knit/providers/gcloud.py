"""Google Cloud DNS (https://cloud.google.com/dns/docs/reference/rest/v1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel

from knit.core.model.challenge import Record
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.cloud import google
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import Api, paged, quoted, unquoted
from knit.providers.http.exchange import Body, Reply
from knit.providers.http.fresh import KEPT, Fresh
from knit.providers.sets import Edit, Sets, Texts
from knit.providers.singles import Place
from knit.providers.zones import Zones

_URL = "https://dns.googleapis.com/dns/v1"
_ZONE = Variable(names=("GCE_ZONE_ID",), help="name or id of the managed zone, instead of looking for it")
_PRIVATE = Variable(names=("GCE_ALLOW_PRIVATE_ZONE",), help="true: private zones count, too", default="false")
_DEBUG = Variable(names=("GCE_DEBUG",), help="ignored: knit logs by KNIT_LOG_LEVEL", default="false")
_KNOBS = knobs("GCE", timeout=180, interval=5, ttl=120)
_RIGHTS = (
    "the role roles/dns.admin (dns.changes.create, dns.resourceRecordSets.*, dns.managedZones.list) in the project"
)

_TOO_FAST = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"}
_OVERTAKEN = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)


class _Zone(BaseModel):
    name: str
    dnsName: str  # noqa: N815 - the API's name
    visibility: str = "public"


class _Zones(BaseModel):
    managedZones: list[_Zone] = []  # noqa: N815 - the API's name
    nextPageToken: str | None = None  # noqa: N815 - the API's name


class _Set(BaseModel):
    name: str
    type: str
    ttl: int
    rrdatas: list[str] = []


class _Sets(BaseModel):
    rrsets: list[_Set]


class _Reason(BaseModel):
    reason: str = ""


class _Error(BaseModel):
    message: str = ""
    errors: list[_Reason] = []


class _Failed(BaseModel):
    error: _Error


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user chose."""

    zone_id: str | None = None
    private: bool = False


class Gcloud(Sets[str]):
    """One project."""

    def __init__(
        self, login: google.Login, timing: Timing, runtime: Runtime, options: Options, *, url: str = _URL
    ) -> None:
        hint = "" if options.private else "private zones count only with GCE_ALLOW_PRIVATE_ZONE"
        super().__init__(timing, Zones("gcloud", self._zone, runtime.clock, hint=hint), runtime)
        self._options = options
        self._login = login
        self._access = Fresh(runtime.clock, _opened(login, timing, runtime, url))

    def _place(self, record: Record) -> Place:
        """A zone that the user names needs no right to list zones."""
        if self._options.zone_id is not None:
            return Place(zone=record.zone, zone_id=self._options.zone_id, record=record)
        return super()._place(record)

    def _zone(self, name: str) -> str | None:
        def fetch(token: str) -> tuple[list[_Zone], str | None]:
            wanted = {"dnsName": f"{name}."} | ({"pageToken": token} if token else {})
            found = self._call("GET", "", Body(params=wanted)).parse(_Zones)
            return found.managedZones, found.nextPageToken or None

        kinds = {"public", "private"} if self._options.private else {"public"}
        fit = [zone for zone in paged(fetch, "") if zone.dnsName == f"{name}." and zone.visibility in kinds]
        fit.sort(key=lambda zone: zone.visibility != "public")
        return fit[0].name if fit else None

    def _read(self, place: Place) -> Texts[str]:
        name = f"{place.record.fqdn}."
        path = f"/{quote(place.zone_id)}/rrsets"
        for found in self._call("GET", path, Body(params={"name": name, "type": "TXT"})).parse(_Sets).rrsets:
            if (found.name, found.type) == (name, "TXT"):
                return Texts(ttl=found.ttl, values=tuple(found.rrdatas))
        return Texts(ttl=self.ttl)

    def _write(self, place: Place, edit: Edit[str]) -> None:
        """The deletion must be exactly what is there, and nothing may be there for the addition."""
        fqdn = place.record.fqdn
        change = {"deletions": _rows(fqdn, edit.before), "additions": _rows(fqdn, edit.after)}
        path = f"/{quote(place.zone_id)}/changes"
        self._call("POST", path, Body(json={title: rows for title, rows in change.items() if rows}), ok=_OVERTAKEN)

    def _plain(self, value: str) -> str:
        return unquoted(value)

    def _written(self, text: str) -> str:
        return quoted(text)

    def _call(self, method: str, path: str, body: Body, *, ok: tuple[int, ...] = ()) -> Reply:
        """Like Api.call; quotas are answered with status 403 here."""
        api = self._access.api()
        url = f"/projects/{quote(self._login.project())}/managedZones{path}"
        reply = api.call(method, url, body, ok=(*ok, HTTPStatus.FORBIDDEN))
        if reply.status == HTTPStatus.FORBIDDEN:
            raise api.limited(reply.said) if _is_quota(reply) else api.fail(reply)
        return reply


def _opened(login: google.Login, timing: Timing, runtime: Runtime, url: str) -> Callable[[], tuple[Api, timedelta]]:
    def make() -> tuple[Api, timedelta]:
        token = login.token()
        sign = header("Authorization", f"Bearer {token}")
        account = Account(provider="gcloud", rights=_RIGHTS, sign=sign, secrets=(token,))
        return Api(url, account, runtime, timeout=timing.http), KEPT

    return make


def _rows(fqdn: str, texts: Texts[str]) -> list[dict[str, object]]:
    row = {"name": f"{fqdn}.", "type": "TXT", "ttl": texts.ttl, "rrdatas": list(texts.values)}
    return [row] if texts.values else []


def _is_quota(reply: Reply) -> bool:
    try:
        return any(error.reason in _TOO_FAST for error in _Failed.model_validate_json(reply.body).error.errors)
    except ValueError:
        return False


def _build(values: Values, runtime: Runtime) -> Solver:
    timing = _KNOBS.timing(values)
    values.flag(_DEBUG)
    options = Options(zone_id=values.get(_ZONE), private=values.flag(_PRIVATE))
    return Gcloud(google.login(values, timing, rights=_RIGHTS, trust=runtime.trust), timing, runtime, options)


PROVIDER = Provider(
    code="gcloud",
    title="Google Cloud DNS",
    url="https://cloud.google.com/dns/docs/reference/rest/v1",
    required=((),),
    variables=(*google.VARIABLES, _ZONE, _PRIVATE, _DEBUG),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="Needs `knit-certs[gcloud]`. Without GCE_SERVICE_ACCOUNT, application default credentials are used.",
)
