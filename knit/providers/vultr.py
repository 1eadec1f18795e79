"""Vultr (https://www.vultr.com/api/#tag/dns)."""

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
from knit.providers.zones import Zones, listed

_URL = "https://api.vultr.com/v2"
_KEY = Variable(names=("VULTR_API_KEY",), help="API key", secret=True)
_KNOBS = knobs("VULTR", timeout=60, interval=2, ttl=120, http=30)
_RIGHTS = "our address in the key's access control list, and for a sub-user the right to manage DNS"

_AT_ONCE = "500"


class _Links(BaseModel):
    next: str


class _Meta(BaseModel):
    links: _Links


class _Domain(BaseModel):
    domain: str


class _Domains(BaseModel):
    domains: list[_Domain]
    meta: _Meta


class _Row(BaseModel):
    id: str
    type: str
    name: str
    data: str


class _Rows(BaseModel):
    records: list[_Row]
    meta: _Meta


class Vultr(Singles):
    """One API key."""

    def __init__(self, key: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("vultr", listed(self._domains, runtime.clock), runtime.clock))
        sign = header("Authorization", f"Bearer {key}")
        account = Account(provider="vultr", rights=_RIGHTS, sign=sign, secrets=(key,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _domains(self) -> dict[str, str]:
        def fetch(cursor: str) -> tuple[list[_Domain], str | None]:
            found = self._api.get("/domains", _after(cursor)).parse(_Domains)
            return found.domains, found.meta.links.next or None

        return {found.domain: found.domain for found in paged(fetch, "")}

    def _ids(self, place: Place) -> Iterator[str]:
        def fetch(cursor: str) -> tuple[list[_Row], str | None]:
            rows = self._api.get(_path(place), _after(cursor)).parse(_Rows)
            return rows.records, rows.meta.links.next or None

        for row in paged(fetch, ""):
            if (row.type, row.name, unquoted(row.data)) == ("TXT", place.name, place.value):
                yield row.id

    def _create(self, place: Place) -> None:
        wanted = {"type": "TXT", "name": place.name, "data": quoted(place.value), "ttl": self.ttl}
        self._api.call("POST", _path(place), Body(json=wanted))

    def _delete(self, place: Place, found: str) -> None:
        self._api.call("DELETE", f"{_path(place)}/{quote(found)}", ok=MISSING)


def _after(cursor: str) -> dict[str, str]:
    return {"per_page": _AT_ONCE, **({"cursor": cursor} if cursor else {})}


def _path(place: Place) -> str:
    return f"/domains/{quote(place.zone)}/records"


def _build(values: Values, runtime: Runtime) -> Solver:
    return Vultr(values.text(_KEY), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="vultr",
    title="Vultr",
    url="https://www.vultr.com/api/#tag/dns",
    required=((_KEY,),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
)
