"""Gandi LiveDNS (https://api.gandi.net/docs/livedns/).

The API has record sets only, so adding or removing one value is: read the set, change it, write it back.
"""

from __future__ import annotations

from urllib.parse import quote

from pydantic import BaseModel

from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, quoted, unquoted
from knit.providers.http.exchange import Body
from knit.providers.sets import Edit, Sets, Texts
from knit.providers.singles import Place
from knit.providers.zones import Zones

_URL = "https://api.gandi.net/v5/livedns"
_TOKEN = Variable(names=("GANDIV5_PERSONAL_ACCESS_TOKEN",), help="personal access token", secret=True)
_KEY = Variable(names=("GANDIV5_API_KEY",), help="API key (Gandi has deprecated them)", secret=True)
_KNOBS = knobs("GANDIV5", timeout=1200, interval=20, ttl=300, http=10)
_RIGHTS = 'the permission "manage domain name technical configurations" for this domain'
_MINIMUM_TTL = 300


class _Domain(BaseModel):
    fqdn: str


class _RecordSet(BaseModel):
    rrset_ttl: int
    rrset_values: list[str]


class Gandi(Sets[str]):
    """One personal access token (`scheme` Bearer) or API key (`scheme` Apikey)."""

    def __init__(self, secret: str, scheme: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("gandiv5", self._domain, runtime.clock), runtime)
        sign = header("Authorization", f"{scheme} {secret}")
        account = Account(provider="gandiv5", rights=_RIGHTS, sign=sign, secrets=(secret,))
        self._api = Api(url, account, runtime, timeout=timing.http)

    def _domain(self, name: str) -> str | None:
        reply = self._api.get(f"/domains/{quote(name)}", ok=MISSING)
        return None if reply.missing else reply.parse(_Domain).fqdn

    def _read(self, place: Place) -> Texts[str]:
        reply = self._api.get(_path(place), ok=MISSING)
        if reply.missing:
            return Texts(ttl=max(self.ttl, _MINIMUM_TTL))
        found = reply.parse(_RecordSet)
        return Texts(ttl=found.rrset_ttl, values=tuple(found.rrset_values))

    def _write(self, place: Place, edit: Edit[str]) -> None:
        if not edit.after.values:
            self._api.call("DELETE", _path(place), ok=MISSING)
            return
        wanted = {"rrset_ttl": edit.after.ttl, "rrset_values": list(edit.after.values)}
        self._api.call("PUT", _path(place), Body(json=wanted))

    def _plain(self, value: str) -> str:
        return unquoted(value)

    def _written(self, text: str) -> str:
        return quoted(text)


def _path(place: Place) -> str:
    return f"/domains/{quote(place.zone)}/records/{quote(place.name) or '@'}/TXT"


def _build(values: Values, runtime: Runtime) -> Solver:
    variable, scheme = ((_TOKEN, "Bearer"), (_KEY, "Apikey"))[values.choose(PROVIDER.required)]
    return Gandi(values.text(variable), scheme, _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="gandiv5",
    title="Gandi LiveDNS",
    url="https://api.gandi.net/docs/livedns/",
    required=((_TOKEN,), (_KEY,)),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="Gandi's smallest TTL is 300 s; a smaller one is raised to it.",
)
