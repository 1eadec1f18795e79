"""Porkbun (https://porkbun.com/llms/porkbun-dns). A domain can be changed only after "API access" is switched on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import requests
from pydantic import BaseModel

from knit.errors import KnitError, Refused
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account
from knit.providers.http.api import Api, paged, unquoted
from knit.providers.http.exchange import Body, Reply
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones, listed

_URL = "https://api.porkbun.com/api/json/v3"
_SECRET = Variable(names=("PORKBUN_SECRET_API_KEY",), help="secret API key (sk1_…)", secret=True)
_KEY = Variable(names=("PORKBUN_API_KEY",), help="API key (pk1_…)", secret=True)
_KNOBS = knobs("PORKBUN", timeout=600, interval=10, ttl=300, http=30)
_RIGHTS = 'a valid pair of keys, and "API access" switched on for the domain'
_MINIMUM_TTL = 600


class _Answer(BaseModel):
    status: str
    message: str = ""


class _Domain(BaseModel):
    domain: str


class _Domains(BaseModel):
    domains: list[_Domain]


class _Row(BaseModel):
    id: int | str
    content: str


class _Rows(BaseModel):
    records: list[_Row]


class Porkbun(Singles):
    """One pair of keys."""

    def __init__(self, key: str, secret: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("porkbun", listed(self._domains, runtime.clock), runtime.clock))

        def sign(request: requests.PreparedRequest) -> None:
            request.headers["X-API-Key"] = key
            request.headers["X-Secret-API-Key"] = secret

        account = Account(provider="porkbun", rights=_RIGHTS, sign=sign, secrets=(key, secret))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _domains(self) -> Mapping[str, str]:
        def fetch(start: int) -> tuple[list[_Domain], int | None]:
            domains = self._call("/domain/listAll", {"start": str(start)}).parse(_Domains).domains
            return domains, start + len(domains) if domains else None

        return {found.domain.lower(): found.domain for found in paged(fetch, 0)}

    def _ids(self, place: Place) -> Iterator[str]:
        path = f"/dns/retrieveByNameType/{place.zone_id}/TXT/{place.name}".rstrip("/")
        rows = self._call(path, {}).parse(_Rows).records
        return (str(row.id) for row in rows if unquoted(row.content) == place.value)

    def _create(self, place: Place) -> None:
        ttl = str(max(self.ttl, _MINIMUM_TTL))
        wanted = {"name": place.name, "type": "TXT", "content": place.value, "ttl": ttl}
        try:
            self._call(f"/dns/create/{place.zone_id}", wanted)
        except Refused:
            # A create whose answer was lost is sent again, and refused as a duplicate in words that have changed.
            if not any(self._ids(place)):
                raise

    def _delete(self, place: Place, found: str) -> None:
        try:
            self._call(f"/dns/delete/{place.zone_id}/{found}", {})
        except Refused:
            if found in self._ids(place):
                raise

    def _call(self, path: str, wanted: Mapping[str, str]) -> Reply:
        reply = self._api.call("POST", path, Body(json=wanted, again=True), ok=(HTTPStatus.BAD_REQUEST,))
        answer = reply.parse(_Answer)
        if reply.status == HTTPStatus.BAD_REQUEST or answer.status != "SUCCESS":
            raise self._error(answer.message or answer.status)
        return reply

    def _error(self, said: str) -> KnitError:
        if re.search(r"api[ _]?(keys?|access)\b", said, re.IGNORECASE):
            return self._api.rejected(said)
        return self._api.refused(said)


def _build(values: Values, runtime: Runtime) -> Solver:
    return Porkbun(values.text(_KEY), values.text(_SECRET), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="porkbun",
    title="Porkbun",
    url="https://porkbun.com/llms/porkbun-dns",
    required=((_SECRET, _KEY),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="Porkbun's smallest TTL is 600 s; a smaller one is raised to it.",
)
