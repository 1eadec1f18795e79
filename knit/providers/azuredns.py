"""Azure DNS (https://learn.microsoft.com/en-us/rest/api/dns/record-sets).

Public zones, or private ones (https://learn.microsoft.com/en-us/rest/api/dns/privatedns/record-sets).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import quote

from pydantic import AliasChoices, BaseModel, Field

from knit.errors import Refused
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.cloud import azure
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, paged
from knit.providers.http.exchange import Body
from knit.providers.http.fresh import KEPT, Fresh
from knit.providers.sets import Edit, Sets, Texts
from knit.providers.singles import Place
from knit.providers.zones import Zones, listed

_SUBSCRIPTION = Variable(names=("AZURE_SUBSCRIPTION_ID",), help="subscription that holds the zone")
_GROUP = Variable(names=("AZURE_RESOURCE_GROUP",), help="resource group that holds the zone")
_ZONE = Variable(names=("AZURE_ZONE_NAME",), help="name of the zone, instead of looking for it")
_PRIVATE = Variable(names=("AZURE_PRIVATE_ZONE",), help="true: private zones", default="false")
_FILTER = Variable(names=("AZURE_SERVICEDISCOVERY_FILTER",), help="Kusto clause that narrows the search for zones")
_KNOBS = knobs("AZURE", timeout=120, interval=2, ttl=60)
_RIGHTS = "the role DNS Zone Contributor (for private zones: Private DNS Zone Contributor) on the zone"

_OVERTAKEN = (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
_GRAPH = "/providers/Microsoft.ResourceGraph/resources"
_GRAPH_VERSION = {"api-version": "2021-03-01"}
_TWICE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user chose."""

    subscription: str | None = None
    group: str | None = None
    zone: str | None = None
    private: bool = False
    narrowed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How the two kinds of zones differ."""

    type: str
    version: Mapping[str, str]
    ttl: str
    texts: str


_PUBLIC_ZONES = _Kind(type="dnsZones", version={"api-version": "2018-05-01"}, ttl="TTL", texts="TXTRecords")
_PRIVATE_ZONES = _Kind(type="privateDnsZones", version={"api-version": "2018-09-01"}, ttl="ttl", texts="txtRecords")


class _Row(BaseModel):
    name: str
    subscriptionId: str  # noqa: N815 - the API's name
    resourceGroup: str  # noqa: N815 - the API's name


class _Rows(BaseModel):
    data: list[_Row]
    token: str | None = Field(default=None, alias="$skipToken")


class _Text(BaseModel):
    value: list[str]


class _Properties(BaseModel):
    ttl: int = Field(validation_alias=AliasChoices("TTL", "ttl"))
    texts: list[_Text] = Field(default=[], validation_alias=AliasChoices("TXTRecords", "txtRecords"))


class _Set(BaseModel):
    etag: str
    properties: _Properties


class AzureDns(Sets[tuple[str, ...]]):
    """One identity, and the zones it may see. A value is a list of strings to Azure."""

    def __init__(self, login: azure.Login, timing: Timing, runtime: Runtime, options: Options, *, url: str) -> None:
        hint = f"it needs {_RIGHTS}, and AZURE_ZONE_NAME, if set, to be right"
        super().__init__(timing, Zones("azuredns", self._zone, runtime.clock, hint=hint), runtime)
        self._listed = listed(self._all, runtime.clock)
        self._options = options
        self._kind = _PRIVATE_ZONES if options.private else _PUBLIC_ZONES
        self._access = Fresh(runtime.clock, _opened(login, timing, runtime, url))

    def _zone(self, name: str) -> str | None:
        options = self._options
        if options.zone is not None and options.zone != name:
            return None
        if options.subscription and options.group and not options.narrowed:
            return self._one(self._path(options.subscription, options.group, name))
        path = self._listed(name)
        if path == _TWICE:
            raise Refused(f"azuredns: two zones are named {name}; AZURE_RESOURCE_GROUP can tell which")
        return path

    def _one(self, path: str) -> str | None:
        """Subscription and group are told: no search, and no right to search."""
        reply = self._access.api().get(path, self._kind.version, ok=MISSING)
        return None if reply.missing else path

    def _all(self) -> Mapping[str, str]:
        """Every zone that can be seen, and its path."""
        found: dict[str, str] = {}
        for row in paged(self._page, ""):
            name = row.name.lower()
            found[name] = _TWICE if name in found else self._path(row.subscriptionId, row.resourceGroup, name)
        return found

    def _page(self, token: str) -> tuple[list[_Row], str | None]:
        options = {"resultFormat": "objectArray", "$top": 1000} | ({"$skipToken": token} if token else {})
        wanted = {"query": _question(self._kind, self._options), "options": options}
        found = (
            self._access.api().call("POST", _GRAPH, Body(json=wanted, params=_GRAPH_VERSION, again=True)).parse(_Rows)
        )
        return found.data, found.token or None

    def _path(self, subscription: str, group: str, zone: str) -> str:
        within = f"/subscriptions/{quote(subscription)}/resourceGroups/{quote(group)}"
        return f"{within}/providers/Microsoft.Network/{self._kind.type}/{quote(zone)}"

    def _read(self, place: Place) -> Texts[tuple[str, ...]]:
        reply = self._access.api().get(_set(place), self._kind.version, ok=MISSING)
        if reply.missing:
            return Texts(ttl=self.ttl)
        found = reply.parse(_Set)
        values = tuple(tuple(text.value) for text in found.properties.texts)
        return Texts(ttl=found.properties.ttl, values=values, mark=found.etag)

    def _write(self, place: Place, edit: Edit[tuple[str, ...]]) -> None:
        """PATCH, for the set may carry metadata of somebody else; each write is bound to the version read."""
        mark = {"If-Match": edit.before.mark} if edit.before.mark else {"If-None-Match": "*"}
        if not edit.after.values:
            body, method = Body(params=self._kind.version, headers=mark), "DELETE"
        else:
            texts = [{"value": list(value)} for value in edit.after.values]
            wanted = {"properties": {self._kind.ttl: edit.after.ttl, self._kind.texts: texts}}
            body = Body(params=self._kind.version, headers=mark, json=wanted)
            method = "PATCH" if edit.before.mark else "PUT"
        self._access.api().call(method, _set(place), body, ok=(*MISSING, *_OVERTAKEN))

    def _plain(self, value: tuple[str, ...]) -> str:
        return "".join(value)

    def _written(self, text: str) -> tuple[str, ...]:
        return (text,)


def _set(place: Place) -> str:
    return f"{place.zone_id}/TXT/{quote(place.name) or '@'}"


def _question(kind: _Kind, options: Options) -> str:
    """In Kusto, whose strings are quoted as in JSON."""
    asked = (("type", f"microsoft.network/{kind.type}"), ("subscriptionId", options.subscription))
    wanted = [(column, value) for column, value in (*asked, ("resourceGroup", options.group)) if value]
    clauses = [f"where {column} =~ {json.dumps(value)}" for column, value in wanted]
    narrowed = [options.narrowed] if options.narrowed else []
    return " | ".join(("resources", *clauses, *narrowed, "project id, name, subscriptionId, resourceGroup"))


def _opened(login: azure.Login, timing: Timing, runtime: Runtime, url: str) -> Callable[[], tuple[Api, timedelta]]:
    def make() -> tuple[Api, timedelta]:
        token = login.token()
        sign = header("Authorization", f"Bearer {token}")
        account = Account(provider="azuredns", rights=_RIGHTS, sign=sign, secrets=(token,))
        return Api(url, account, runtime, timeout=timing.http), KEPT

    return make


def _build(values: Values, runtime: Runtime) -> Solver:
    timing = _KNOBS.timing(values)
    options = Options(
        subscription=values.get(_SUBSCRIPTION),
        group=values.get(_GROUP),
        zone=values.get(_ZONE),
        private=values.flag(_PRIVATE),
        narrowed=values.get(_FILTER),
    )
    login = azure.login(values, timing, runtime, rights=_RIGHTS)
    return AzureDns(login, timing, runtime, options, url=azure.cloud(values).url)


PROVIDER = Provider(
    code="azuredns",
    title="Azure DNS",
    url="https://learn.microsoft.com/en-us/rest/api/dns/record-sets",
    required=((),),
    aliases=("azure",),
    variables=(*azure.VARIABLES, _SUBSCRIPTION, _GROUP, _ZONE, _PRIVATE, _FILTER),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="Needs `knit-certs[azuredns]`.",
)
