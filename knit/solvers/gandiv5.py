"""Gandi LiveDNS (https://api.gandi.net/docs/livedns/).

The API has record sets only, so adding or removing one value is: read the set, change it, write it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote

from pydantic import BaseModel

from knit.core.model import Record
from knit.ports import Solver
from knit.solvers.base import Paced, Provider, ReplacesWhole, Runtime, Timing, Values, Variable, knobs
from knit.solvers.http import MISSING, Account, Api, Body, header, quoted, unquoted
from knit.solvers.rewrite import rewrite
from knit.solvers.zones import Zones, relative

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """TXT values at one name and their TTL (seconds)."""

    ttl: int
    values: tuple[str, ...]


class Gandi(Paced, ReplacesWhole):
    """One personal access token (`scheme` Bearer) or API key (`scheme` Apikey)."""

    def __init__(self, secret: str, scheme: str, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing)
        sign = header("Authorization", f"{scheme} {secret}")
        account = Account(provider="gandiv5", rights=_RIGHTS, sign=sign, secrets=(secret,))
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._zones = Zones("gandiv5", self._domain, runtime.clock)
        self._sleep = runtime.sleep

    def replaces(self, record: Record) -> str:
        """A write replaces the whole record set."""
        return record.fqdn

    def present(self, record: Record) -> None:
        """Write the set with the value in it."""
        self._change(record, add=(record.value,))

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Write the set without the value, or delete the set when that was all."""
        self._change(record, add=())

    def _change(self, record: Record, *, add: tuple[str, ...]) -> None:
        zone, _ = self._zones.of(record)
        path = f"/domains/{quote(zone)}/records/{quote(relative(record.fqdn, zone)) or '@'}/TXT"

        def change(texts: _Texts) -> _Texts:
            if set(add) == {record.value} & set(texts.values):
                return texts
            others = tuple(value for value in texts.values if value != record.value)
            return replace(texts, values=others + add)

        rewrite(
            f"gandiv5: {record.fqdn}", self._sleep, lambda: self._read(path), change, lambda t: self._write(path, t)
        )

    def _domain(self, name: str) -> str | None:
        reply = self._api.get(f"/domains/{quote(name)}", ok=MISSING)
        return None if reply.missing else reply.parse(_Domain).fqdn

    def _read(self, path: str) -> _Texts:
        reply = self._api.get(path, ok=MISSING)
        if reply.missing:
            return _Texts(ttl=max(self.ttl, _MINIMUM_TTL), values=())
        found = reply.parse(_RecordSet)
        return _Texts(ttl=found.rrset_ttl, values=tuple(unquoted(text) for text in found.rrset_values))

    def _write(self, path: str, texts: _Texts) -> None:
        if not texts.values:
            self._api.call("DELETE", path, ok=MISSING)
            return
        wanted = {"rrset_ttl": texts.ttl, "rrset_values": [quoted(value) for value in texts.values]}
        self._api.call("PUT", path, Body(json=wanted))


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
