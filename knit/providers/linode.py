"""Linode, now Akamai (https://techdocs.akamai.com/linode-api/reference/domain-records)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import BaseModel

from knit.core.names import a_labels
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, paged
from knit.providers.http.exchange import Body, Reply
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones

_URL = "https://api.linode.com/v4"
_TOKEN = Variable(names=("LINODE_TOKEN",), help="personal access token", secret=True)
_KNOBS = knobs("LINODE", timeout=120, interval=15, ttl=300, http=30)
_RIGHTS = "the scope domains:read_write"


class _Domain(BaseModel):
    id: int
    domain: str


class _Domains(BaseModel):
    data: list[_Domain]


class _Row(BaseModel):
    id: int
    type: str
    name: str
    target: str


class _Rows(BaseModel):
    data: list[_Row]
    page: int
    pages: int


class Linode(Singles):
    """One token. Linode rounds the TTL to one of its own; its name servers load changes every few minutes."""

    def __init__(self, token: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("linode", self._domain, runtime.clock))
        sign = header("Authorization", f"Bearer {token}")
        account = Account(provider="linode", rights=_RIGHTS, sign=sign, secrets=(token,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _domain(self, name: str) -> str | None:
        domains = self._filtered("/domains", {"domain": name}).parse(_Domains).data
        return next((str(domain.id) for domain in domains if a_labels(domain.domain) == name), None)

    def _ids(self, place: Place) -> Iterator[str]:
        def fetch(page: int) -> tuple[list[_Row], int | None]:
            rows = self._filtered(_path(place), {"type": "TXT", "name": place.name}, page).parse(_Rows)
            return rows.data, page + 1 if rows.page < rows.pages else None

        for row in paged(fetch, 1):
            if (row.type, a_labels(row.name), row.target) == ("TXT", place.name, place.value):
                yield str(row.id)

    def _create(self, place: Place) -> None:
        wanted = {"type": "TXT", "name": place.name, "target": place.value, "ttl_sec": self.ttl}
        self._api.call("POST", _path(place), Body(json=wanted))

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"{_path(place)}/{found}", ok=MISSING)

    def _filtered(self, path: str, wanted: dict[str, str], page: int = 1) -> Reply:
        shown = {"page": str(page), "page_size": "500"}
        return self._api.call("GET", path, Body(params=shown, headers={"X-Filter": json.dumps(wanted)}))


def _path(place: Place) -> str:
    return f"/domains/{place.zone_id}/records"


def _build(values: Values, runtime: Runtime) -> Solver:
    return Linode(values.text(_TOKEN), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="linode",
    title="Linode (Akamai)",
    url="https://techdocs.akamai.com/linode-api/reference/domain-records",
    required=((_TOKEN,),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    aliases=("linodev4",),
)
