"""deSEC (https://desec.readthedocs.io/en/latest/dns/rrsets.html).

The API has record sets only, so adding or removing one value is: read the set, change it, write it back.
"""

from __future__ import annotations

from urllib.parse import quote

from pydantic import BaseModel

from knit.ports.solving import Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, header
from knit.providers.http.api import MISSING, Api, quoted, unquoted
from knit.providers.http.exchange import Body
from knit.providers.sets import Edit, Sets, Texts
from knit.providers.singles import Place
from knit.providers.zones import Zones

_TOKEN = Variable(names=("DESEC_TOKEN",), help="token of the deSEC account", secret=True)
_KNOBS = knobs("DESEC", timeout=120, interval=4, ttl=3600, http=30)
_RIGHTS = "write access to the TXT record sets of this domain (a token policy may forbid it) and our address allowed"


class _Domain(BaseModel):
    name: str
    minimum_ttl: int


class _RecordSet(BaseModel):
    ttl: int
    records: list[str]


class Desec(Sets[str]):
    """One deSEC account."""

    def __init__(self, token: str, timing: Timing, runtime: Runtime, *, url: str = "https://desec.io/api/v1") -> None:
        super().__init__(timing, Zones("desec", self._domain, runtime.clock), runtime)
        account = Account(
            provider="desec", rights=_RIGHTS, sign=header("Authorization", f"Token {token}"), secrets=(token,)
        )
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._smallest_ttl: dict[str, int] = {}

    def _domain(self, name: str) -> str | None:
        reply = self._api.get(f"/domains/{quote(name)}/", ok=MISSING)
        if reply.missing:
            return None
        self._smallest_ttl[name] = reply.parse(_Domain).minimum_ttl
        return name

    def _read(self, place: Place) -> Texts[str]:
        reply = self._api.get(f"/domains/{quote(place.zone)}/rrsets/{quote(place.name) or '@'}/TXT/", ok=MISSING)
        if reply.missing:
            return Texts(ttl=self.ttl)
        found = reply.parse(_RecordSet)
        return Texts(ttl=found.ttl, values=tuple(found.records))

    def _write(self, place: Place, edit: Edit[str]) -> None:
        """The bulk call creates, changes and, without values, deletes."""
        ttl = max(edit.after.ttl, self._smallest_ttl[place.zone])
        wanted = {"subname": place.name, "type": "TXT", "ttl": ttl, "records": list(edit.after.values)}
        self._api.call("PUT", f"/domains/{quote(place.zone)}/rrsets/", Body(json=[wanted]))

    def _plain(self, value: str) -> str:
        return unquoted(value)

    def _written(self, text: str) -> str:
        return quoted(text)


def _build(values: Values, runtime: Runtime) -> Desec:
    return Desec(values.text(_TOKEN), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="desec",
    title="deSEC.io",
    url="https://desec.readthedocs.io/en/latest/dns/rrsets.html",
    required=((_TOKEN,),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="deSEC counts writes for each domain (2 a second, 15 a minute, 100 an hour, 300 a day): more certificates "
    "than that, delegated to one domain, take days.",
)
