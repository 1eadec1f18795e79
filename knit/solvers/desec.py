"""deSEC (https://desec.readthedocs.io/en/latest/dns/rrsets.html).

The API has record sets only, so adding or removing one value is: read the set, change it, write it back.
"""

from __future__ import annotations

from urllib.parse import quote

from pydantic import BaseModel

from knit.core.model import Record
from knit.solvers.base import Paced, Provider, ReplacesWhole, Runtime, Timing, Values, Variable, knobs
from knit.solvers.http import MISSING, Account, Api, Body, header, quoted, unquoted
from knit.solvers.zones import Zones, relative

_TOKEN = Variable(names=("DESEC_TOKEN",), help="token of the deSEC account", secret=True)
_KNOBS = knobs("DESEC", timeout=120, interval=4, ttl=3600, http=30)
_RIGHTS = "write access to the TXT record sets of this domain (a token policy may forbid it) and our address allowed"


class _Domain(BaseModel):
    name: str
    minimum_ttl: int


class _RecordSet(BaseModel):
    ttl: int
    records: list[str]


class Desec(Paced, ReplacesWhole):
    """One deSEC account."""

    def __init__(self, token: str, timing: Timing, runtime: Runtime, *, url: str = "https://desec.io/api/v1") -> None:
        super().__init__(timing)
        account = Account(
            provider="desec", rights=_RIGHTS, sign=header("Authorization", f"Token {token}"), secrets=(token,)
        )
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._zones = Zones("desec", self._domain, runtime.clock)

    def replaces(self, record: Record) -> str:
        """A write replaces the whole record set."""
        return record.fqdn

    def present(self, record: Record) -> None:
        """Write the set with the value in it."""
        path, values, minimum_ttl = self._read(record)
        if record.value not in values:
            self._write(path, record, [*values, record.value], minimum_ttl)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Write the set without the value; deSEC deletes a set that becomes empty."""
        path, values, minimum_ttl = self._read(record)
        if record.value in values:
            self._write(path, record, [value for value in values if value != record.value], minimum_ttl)

    def _domain(self, name: str) -> _Domain | None:
        reply = self._api.get(f"/domains/{quote(name)}/", ok=MISSING)
        return None if reply.missing else reply.parse(_Domain)

    def _read(self, record: Record) -> tuple[str, list[str], int]:
        zone, domain = self._zones.of(record)
        path = f"/domains/{quote(zone)}/rrsets/"
        subname = quote(relative(record.fqdn, zone)) or "@"
        reply = self._api.get(f"{path}{subname}/TXT/", ok=MISSING)
        records = [] if reply.missing else reply.parse(_RecordSet).records
        return path, [unquoted(text) for text in records], domain.minimum_ttl

    def _write(self, path: str, record: Record, values: list[str], minimum_ttl: int) -> None:
        zone = path.split("/")[2]
        wanted = {
            "subname": relative(record.fqdn, zone),
            "type": "TXT",
            "ttl": max(self.ttl, minimum_ttl),
            "records": [quoted(value) for value in values],
        }
        self._api.call("PUT", path, Body(json=[wanted]))


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
