"""OVHcloud (https://eu.api.ovh.com/console/?section=%2Fdomain).

lego asks for a key that may only POST and DELETE below /domain/zone. Such a key works here too: what can be done
without reading is done without, and reading is asked for only where nothing else helps.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import quote

import requests
from pydantic import BaseModel

from knit.core.model.challenge import Record
from knit.errors import CredentialsRejected, Misconfigured, Refused
from knit.ports.solving import Paced, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, Signer, anonymous, header
from knit.providers.http.api import MISSING, Api, unquoted
from knit.providers.http.exchange import Body
from knit.providers.zones import candidates, relative

_ENDPOINT = Variable(names=("OVH_ENDPOINT",), help="ovh-eu, ovh-ca, ovh-us, or the API's address", default="ovh-eu")
_KEY = Variable(names=("OVH_APPLICATION_KEY",), help="application key")
_SECRET = Variable(names=("OVH_APPLICATION_SECRET",), help="application secret", secret=True)
_CONSUMER = Variable(names=("OVH_CONSUMER_KEY",), help="consumer key", secret=True)
_CLIENT = Variable(names=("OVH_CLIENT_ID",), help="OAuth2 client of a service account")
_CLIENT_SECRET = Variable(names=("OVH_CLIENT_SECRET",), help="secret of the OAuth2 client", secret=True)
_TOKEN = Variable(names=("OVH_ACCESS_TOKEN",), help="access token", secret=True)
_KNOBS = knobs("OVH", timeout=60, interval=2, ttl=120, http=180)
_RIGHTS = "POST and DELETE below /domain/zone/ for this zone, and GET to find records after a crash"

_URLS = {
    "ovh-eu": "https://eu.api.ovh.com/1.0",
    "ovh-ca": "https://ca.api.ovh.com/1.0",
    "ovh-us": "https://api.us.ovhcloud.com/1.0",
    "kimsufi-eu": "https://eu.api.kimsufi.com/1.0",
    "kimsufi-ca": "https://ca.api.kimsufi.com/1.0",
    "soyoustart-eu": "https://eu.api.soyoustart.com/1.0",
    "soyoustart-ca": "https://ca.api.soyoustart.com/1.0",
}
_TOKEN_URLS = {
    "ovh-eu": "https://www.ovh.com/auth/oauth2/token",
    "ovh-ca": "https://ca.ovh.com/auth/oauth2/token",
    "ovh-us": "https://us.ovhcloud.com/auth/oauth2/token",
}
_CREDENTIALS = (_KEY, _SECRET, _CONSUMER, _CLIENT, _CLIENT_SECRET, _TOKEN)
_FILES = ("/etc/ovh.conf", "~/.ovh.conf", "./ovh.conf")
"""The later go before the earlier."""
_CLOCK_KEPT = timedelta(hours=1)
_TOKEN_KEPT = 3600
_TOKEN_SPARE = timedelta(minutes=1)


class _Row(BaseModel):
    id: int
    subDomain: str | None  # noqa: N815 - the API's name
    target: str


class _Created(BaseModel):
    id: int


class _Granted(BaseModel):
    access_token: str
    expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One of OVH's APIs."""

    url: str
    runtime: Runtime
    timing: Timing

    def api(self, sign: Signer, *secrets: str, url: str = "") -> Api:
        """The API, or another address of OVH's, for somebody who signs like this."""
        account = Account(provider="ovh", rights=_RIGHTS, sign=sign, secrets=secrets)
        return Api(url or self.url, account, self.runtime, timeout=self.timing.http)


class Access:
    """Gives the API ready to be called; asks OVH for what goes stale (its clock, a token) when it has."""

    def __init__(self, server: Server, fetch: Callable[[], tuple[Api, timedelta]]) -> None:
        self._clock = server.runtime.clock
        self._fetch = fetch
        self._kept: tuple[Api, datetime] | None = None
        self._lock = threading.Lock()

    def api(self) -> Api:
        """Raises CredentialsRejected when OVH does not let us in."""
        with self._lock:
            if self._kept is None or self._kept[1] <= self._clock():
                api, lasts = self._fetch()
                self._kept = api, self._clock() + lasts
            return self._kept[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The three keys of the older kind of access."""

    application: str
    secret: str = field(repr=False)
    consumer: str = field(repr=False)


def by_keys(server: Server, keys: Keys) -> Access:
    """Every request is signed, over OVH's own time."""

    def fetch() -> tuple[Api, timedelta]:
        theirs = server.api(anonymous).get("/auth/time").parse(int)
        ahead = theirs - server.runtime.clock().timestamp()

        def sign(request: requests.PreparedRequest) -> None:
            _sign(request, keys, round(server.runtime.clock().timestamp() + ahead))

        return server.api(sign, keys.secret, keys.consumer), _CLOCK_KEPT

    return Access(server, fetch)


def by_client(server: Server, client: str, secret: str, token_url: str) -> Access:
    """OAuth2 client credentials (RFC 6749 section 4.4): a token of an hour or so."""
    asked = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": "all"}
    door = server.api(anonymous, secret, url=token_url)

    def fetch() -> tuple[Api, timedelta]:
        reply = door.call("POST", "", Body(form=asked), ok=(HTTPStatus.BAD_REQUEST,))
        if reply.status == HTTPStatus.BAD_REQUEST:
            raise door.rejected(reply.said)
        granted = reply.parse(_Granted)
        return by_token(server, granted.access_token).api(), timedelta(
            seconds=min(max(granted.expires_in, 0), _TOKEN_KEPT)
        ) - _TOKEN_SPARE

    return Access(server, fetch)


def by_token(server: Server, token: str) -> Access:
    """A token that somebody else renews."""
    api = server.api(header("Authorization", f"Bearer {token}"), token)
    return Access(server, lambda: (api, _CLOCK_KEPT))


def _sign(request: requests.PreparedRequest, keys: Keys, now: int) -> None:
    body = request.body or ""
    text = body.decode() if isinstance(body, bytes) else str(body)
    parts = (keys.secret, keys.consumer, request.method or "", request.url or "", text, str(now))
    # SHA-1 is what the API's signature is made of.
    signature = hashlib.sha1("+".join(parts).encode(), usedforsecurity=False).hexdigest()
    request.headers["X-Ovh-Application"] = keys.application
    request.headers["X-Ovh-Consumer"] = keys.consumer
    request.headers["X-Ovh-Timestamp"] = str(now)
    request.headers["X-Ovh-Signature"] = f"$1${signature}"


class Ovh(Paced):
    """One account."""

    def __init__(self, access: Access, timing: Timing) -> None:
        super().__init__(timing)
        self._access = access

    def present(self, record: Record) -> dict[str, str]:
        """Create the record in the first zone that exists; then take away older ones with the same value."""
        api = self._access.api()
        for zone in candidates(record):
            name = relative(record.fqdn, zone)
            wanted = {"fieldType": "TXT", "subDomain": name, "target": record.value, "ttl": self.ttl}
            reply = api.call("POST", f"/domain/zone/{quote(zone)}/record", Body(json=wanted), ok=MISSING)
            if not reply.missing:
                made = reply.parse(_Created).id
                self._drop_doubles(api, zone, record, made)
                _refresh(api, zone)
                return {"zone": zone, "id": str(made)}
        raise _no_zone(record)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Delete the record that was made, or, when nothing is known of it, all with this value."""
        api = self._access.api()
        zone, found = (state["zone"], [int(state["id"])]) if state else _search(api, record)
        for row in found:
            _delete(api, zone, row)
        if found:
            _refresh(api, zone)

    @staticmethod
    def _drop_doubles(api: Api, zone: str, record: Record, made: int) -> None:
        """A create whose answer was lost was sent again, or an earlier run has set the value already."""
        try:
            doubles = [row for row in _rows(api, zone, record) or () if row != made]
        except CredentialsRejected:
            return  # a key that may only write; a double does no harm while the challenge lasts
        for row in doubles:
            _delete(api, zone, row)


def _search(api: Api, record: Record) -> tuple[str, list[int]]:
    for zone in candidates(record):
        found = _rows(api, zone, record)
        if found is not None:
            return zone, found
    raise _no_zone(record)


def _rows(api: Api, zone: str, record: Record) -> list[int] | None:
    """Ids of the records with exactly this name and value; None when there is no such zone."""
    name, path = relative(record.fqdn, zone), f"/domain/zone/{quote(zone)}/record"
    reply = api.get(path, {"fieldType": "TXT", "subDomain": name}, ok=MISSING)
    if reply.missing:
        return None
    return [row.id for row in _read(api, path, reply.parse(list[int])) if _is(row, name, record.value)]


def _read(api: Api, path: str, ids: list[int]) -> Iterator[_Row]:
    for found in ids:
        reply = api.get(f"{path}/{found}", ok=MISSING)
        if not reply.missing:
            yield reply.parse(_Row)


def _is(row: _Row, name: str, value: str) -> bool:
    """The API compares names by pattern, in which `_` stands for any character."""
    return (row.subDomain or "") == name and unquoted(row.target) == value


def _delete(api: Api, zone: str, row: int) -> None:
    api.call("DELETE", f"/domain/zone/{quote(zone)}/record/{row}", ok=MISSING)


def _refresh(api: Api, zone: str) -> None:
    """Without it the name servers do not learn of the change."""
    api.call("POST", f"/domain/zone/{quote(zone)}/refresh", Body(again=True))


def _no_zone(record: Record) -> Refused:
    return Refused(f"ovh: this account has no zone for {record.fqdn} (looked for {record.zone} first)")


def _build(values: Values, runtime: Runtime) -> Solver:
    endpoint, timing = values.text(_ENDPOINT), _KNOBS.timing(values)
    server = Server(url=_address(endpoint), runtime=runtime, timing=timing)
    return Ovh(_access(server, endpoint, values), timing)


def _address(endpoint: str) -> str:
    if endpoint.startswith("https://"):
        return endpoint
    if endpoint not in _URLS:
        raise Misconfigured(f"OVH_ENDPOINT must be https://… or one of {', '.join(_URLS)}, not {endpoint!r}")
    return _URLS[endpoint]


def _access(server: Server, endpoint: str, values: Values) -> Access:
    match values.choose(PROVIDER.required):
        case 0:
            secret, consumer = values.text(_SECRET), values.text(_CONSUMER)
            return by_keys(server, Keys(application=values.text(_KEY), secret=secret, consumer=consumer))
        case 1:
            if endpoint not in _TOKEN_URLS:
                raise Misconfigured(f"with OVH_CLIENT_ID, OVH_ENDPOINT must be one of {', '.join(_TOKEN_URLS)}")
            return by_client(server, values.text(_CLIENT), values.text(_CLIENT_SECRET), _TOKEN_URLS[endpoint])
        case _:
            return by_token(server, values.text(_TOKEN))


def _from_file(values: Values) -> dict[str, str]:
    """What OVH's own tools read: the endpoint's section; without OVH_ENDPOINT lego's, else the file's own default."""
    files = configparser.ConfigParser(interpolation=None)
    try:
        # Unlike Path.expanduser it leaves `~` as it is for a user without a home, such as a container's.
        files.read((os.path.expanduser(path) for path in _FILES), encoding="utf-8")  # noqa: PTH111
    except (configparser.Error, UnicodeDecodeError) as e:
        raise Misconfigured(f"ovh.conf cannot be read ({type(e).__name__})") from None
    chosen = values.named(_ENDPOINT.names).get(_ENDPOINT.name)
    usual = "ovh-eu" if files.has_section("ovh-eu") else files.get("default", "endpoint", fallback="ovh-eu")
    endpoint = chosen or usual
    known = {variable.name.removeprefix("OVH_").lower(): variable.name for variable in _CREDENTIALS}
    section = files[endpoint] if files.has_section(endpoint) else {}
    found = {known[name]: value for name, value in section.items() if name in known and value}
    return {_ENDPOINT.name: endpoint, **found}


PROVIDER = Provider(
    code="ovh",
    title="OVHcloud",
    url="https://eu.api.ovh.com/console/?section=%2Fdomain",
    required=((_KEY, _SECRET, _CONSUMER), (_CLIENT, _CLIENT_SECRET), (_TOKEN,)),
    variables=(_ENDPOINT,),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    elsewhere=_from_file,
    note="Without any of the keys, they are read from /etc/ovh.conf, ~/.ovh.conf and ./ovh.conf, as lego does it.",
)
