"""netcup (https://ccp.netcup.net/run/webservice/servers/endpoint.php, the JSON side).

Every call is a POST to one address and is answered with status 200; the answer's `statuscode` says how it went.
Calls need a session, which ends 15 minutes after its last use.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel

from knit.core.model.challenge import Record
from knit.errors import CredentialsRejected, KnitError, Refused, Unreachable
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, anonymous
from knit.providers.http.api import Api
from knit.providers.http.exchange import Body
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones

_URL = "https://ccp.netcup.net/run/webservice/servers/endpoint.php"
_CUSTOMER = Variable(names=("NETCUP_CUSTOMER_NUMBER",), help="customer number")
_KEY = Variable(names=("NETCUP_API_KEY",), help="API key", secret=True)
_PASSWORD = Variable(names=("NETCUP_API_PASSWORD",), help="API password", secret=True)
_KNOBS = knobs("NETCUP", timeout=900, interval=30, ttl=None, http=10)
_RIGHTS = "an API key and the API password of the customer account that holds this domain"
_SESSION_KEPT = timedelta(minutes=10)
_NO_SESSION = 4001
_INVALID = 4013
_NO_RECORDS_FOR_ZONE = 5029
_TOO_MANY = "requests per minute"
_NO_ZONE = "could not be found"
_GUESSED = ""


class _Answer(BaseModel):
    status: str
    statuscode: int
    shortmessage: str
    longmessage: str

    @property
    def said(self) -> str:
        return f"{self.shortmessage} {self.longmessage} (statuscode {self.statuscode})"

    @property
    def lacks_zone(self) -> bool:
        """No such zone here, or a name that cannot be a domain to netcup, such as one with too many labels."""
        invalid = self.statuscode == _INVALID and "domainname" in self.longmessage
        return invalid or (self.lacks_records and _NO_ZONE in self.longmessage)

    @property
    def lacks_records(self) -> bool:
        """No record is there to be listed; that alone does not say that there is no zone."""
        return self.statuscode == _NO_RECORDS_FOR_ZONE


class _Login(BaseModel):
    apisessionid: str


class _LoggedIn(BaseModel):
    responsedata: _Login


class _Record(BaseModel):
    id: str | int
    hostname: str
    type: str
    destination: str


class _Records(BaseModel):
    dnsrecords: list[_Record]


class _Listed(BaseModel):
    responsedata: _Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a user has of netcup: the number names the account, key and password open it."""

    customer: str
    key: str = field(repr=False)
    password: str = field(repr=False)


class Netcup(Singles):
    """One customer account, with one session for all threads."""

    def __init__(self, login: Login, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("netcup", self._zone, runtime.clock))
        secrets = (login.key, login.password)
        account = Account(provider="netcup", rights=_RIGHTS, sign=anonymous, secrets=secrets)
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._login = login
        self._clock = runtime.clock
        self._lock = threading.Lock()
        self._session: tuple[str, datetime] | None = None

    def _ids(self, place: Place) -> Iterable[str]:
        wanted = (place.name or "@", "TXT", place.value)
        records = self._records(place.zone) or []
        return (str(record.id) for record in records if (record.hostname, record.type, record.destination) == wanted)

    def _create(self, place: Place) -> None:
        self._update(place, {})

    def _delete(self, place: Place, found: str) -> None:
        """A record that is gone in the meantime is refused as unknown: then a look tells."""
        try:
            self._update(place, {"id": found, "deleterecord": True})
        except KnitError:
            if found in self._ids(place):
                raise

    def _place(self, record: Record) -> Place:
        """Netcup may refuse to list a zone that has no records yet: then the one that the DNS shows, as lego does."""
        try:
            return super()._place(record)
        except CredentialsRejected:
            raise
        except Refused:
            return Place(zone=record.zone, zone_id=_GUESSED, record=record)

    def _update(self, place: Place, more: dict[str, object]) -> None:
        record = {"hostname": place.name or "@", "type": "TXT", "destination": place.value, **more}
        body: dict[str, object] = {"domainname": place.zone, "dnsrecordset": {"dnsrecords": [record]}}
        answer, _ = self._call("updateDnsRecords", body)
        if answer.status != "success" and place.zone_id == _GUESSED:
            raise self._api.refused(f"no zone of this account holds {place.record.fqdn}: {answer.said}")
        if answer.status != "success":
            raise self._error(answer)

    def _zone(self, name: str) -> str | None:
        return None if self._records(name) is None else name

    def _records(self, zone: str) -> list[_Record] | None:
        """All records of the zone; None when the account has no such zone."""
        answer, listed = self._call("infoDnsRecords", {"domainname": zone})
        if answer.lacks_zone:
            return None
        if answer.lacks_records:
            return []
        if answer.status != "success":
            raise self._error(answer)
        return listed.responsedata.dnsrecords if listed else []

    def _call(self, action: str, params: dict[str, object]) -> tuple[_Answer, _Listed | None]:
        """One call in the session; in a new one when netcup has forgotten the old."""
        session = self._id()
        answer, listed = self._try(action, params, session)
        if answer.statuscode == _NO_SESSION:
            answer, listed = self._try(action, params, self._id(stale=session))
        if answer.statuscode == _NO_SESSION:
            raise Unreachable(f"netcup: its sessions do not last: {answer.said}")
        return answer, listed

    def _try(self, action: str, params: dict[str, object], session: str) -> tuple[_Answer, _Listed | None]:
        who = {"customernumber": self._login.customer, "apikey": self._login.key, "apisessionid": session}
        body = Body(json={"action": action, "param": {**who, **params}}, again=action == "infoDnsRecords")
        reply = self._api.call("POST", "?JSON", body)
        answer = reply.parse(_Answer)
        is_list = action == "infoDnsRecords" and answer.status == "success"
        return answer, reply.parse(_Listed) if is_list else None

    def _id(self, *, stale: str = "") -> str:
        with self._lock:
            kept = self._session
            if kept is None or kept[0] == stale or kept[1] <= self._clock():
                kept = self._session = (self._log_in(), self._clock() + _SESSION_KEPT)
            return kept[0]

    def _log_in(self) -> str:
        login = self._login
        who = {"customernumber": login.customer, "apikey": login.key, "apipassword": login.password}
        reply = self._api.call("POST", "?JSON", Body(json={"action": "login", "param": who}, again=True))
        answer = reply.parse(_Answer)
        if answer.status != "success":
            error = self._error(answer)
            raise error if _TOO_MANY in answer.longmessage else self._api.rejected(answer.said)
        return reply.parse(_LoggedIn).responsedata.apisessionid

    def _error(self, answer: _Answer) -> KnitError:
        return self._api.limited(answer.said) if _TOO_MANY in answer.longmessage else self._api.refused(answer.said)


def _build(values: Values, runtime: Runtime) -> Solver:
    login = Login(customer=values.text(_CUSTOMER), key=values.text(_KEY), password=values.text(_PASSWORD))
    return Netcup(login, _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="netcup",
    title="netcup",
    url="https://ccp.netcup.net/run/webservice/servers/endpoint.php",
    required=((_CUSTOMER, _KEY, _PASSWORD),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="The TTL is the zone's own: netcup has none for a single record. Zones in netcup's newer CloudDNS are not "
    "served by this API.",
)
