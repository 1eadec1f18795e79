"""INWX DomRobot by JSON-RPC (https://www.inwx.com/en/help/apidoc).

Calls are POSTs to one address, answered with status 200; the answer's `code` says how it went. Calls need a session,
which is a cookie; an account with two-factor login unlocks it with a TOTP code, and each code works once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie

import requests
from pydantic import BaseModel

from knit.errors import KnitError, Misconfigured, Unreachable
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account
from knit.providers.http.api import Api
from knit.providers.http.exchange import Body, Reply
from knit.providers.singles import Place, Singles
from knit.providers.zones import Zones

_URL = "https://api.domrobot.com/jsonrpc/"
_SANDBOX_URL = "https://api.ote.domrobot.com/jsonrpc/"
_USER = Variable(names=("INWX_USERNAME",), help="user name of the account")
_PASSWORD = Variable(names=("INWX_PASSWORD",), help="password of the account", secret=True)
_SHARED = Variable(names=("INWX_SHARED_SECRET",), help="shared secret of the two-factor login, base32", secret=True)
_SANDBOX = Variable(names=("INWX_SANDBOX",), help="talk to INWX's test system: true or false")
_KNOBS = knobs("INWX", timeout=360, interval=2, ttl=300)
_RIGHTS = "an account, or a sub-account, that may manage the name server records of this domain"
_SHORTEST_TTL = 300
_SESSION_KEPT = timedelta(minutes=20)
_STEP = 30
_TWO_FACTORS = "GOOGLE-AUTH"
_DONE = range(1000, 2000)
_NOT_LOGGED_IN = {2002, 2200}
_FORBIDDEN = {2200, 2201}
_EXISTS, _UNKNOWN = 2302, 2303
_PASSING = {2400, 2500}
_TOO_MANY = {2501, 2502}


class _Answer(BaseModel):
    code: int
    msg: str
    reason: str = ""

    @property
    def said(self) -> str:
        return " ".join(filter(None, (self.msg, self.reason, f"(code {self.code})")))


class _Session(BaseModel):
    tfa: str | int | None = None


class _LoggedIn(BaseModel):
    resData: _Session  # noqa: N815 - INWX's word


class _Record(BaseModel):
    id: str | int
    name: str
    type: str
    content: str


class _Domain(BaseModel):
    record: list[_Record] = []


class _Info(BaseModel):
    resData: _Domain  # noqa: N815 - INWX's word


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who logs in; `shared` is the key that TOTP codes are made from, None without two-factor login."""

    user: str
    password: str = field(repr=False)
    shared: bytes | None = field(repr=False, default=None)


class Inwx(Singles):
    """One account, with one session for all threads."""

    def __init__(self, login: Login, timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing, Zones("inwx", self._zone, runtime.clock))
        account = Account(provider="inwx", rights=_RIGHTS, sign=self._sign, secrets=(login.password,))
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._login = login
        self._runtime = runtime
        self._lock = threading.Lock()
        self._cookie = ""
        self._until: datetime | None = None
        self._spent = 0

    def _ids(self, place: Place) -> Iterable[str]:
        params = {"domain": place.zone, "name": place.record.fqdn, "type": "TXT"}
        _, reply = self._call("nameserver.info", params)
        wanted = (place.record.fqdn, "TXT", place.value)
        records = reply.parse(_Info).resData.record
        return (str(record.id) for record in records if (record.name.lower(), record.type, record.content) == wanted)

    def _create(self, place: Place) -> None:
        record = {"domain": place.zone, "name": place.record.fqdn, "type": "TXT", "content": place.value}
        self._call("nameserver.createRecord", {**record, "ttl": max(self.ttl, _SHORTEST_TTL)}, ok={_EXISTS})

    def _delete(self, place: Place, found: str) -> None:
        number: str | int = int(found) if found.isdigit() else found
        self._call("nameserver.deleteRecord", {"id": number}, ok={_UNKNOWN})

    def _zone(self, name: str) -> str | None:
        answer, _ = self._call("nameserver.info", {"domain": name, "type": "SOA"}, ok={_UNKNOWN})
        return name if answer.code in _DONE else None

    def _call(self, method: str, params: Mapping[str, object], *, ok: Iterable[int] = ()) -> tuple[_Answer, Reply]:
        """One call in the session; in a new one when INWX has forgotten the old."""
        before = self._cookie
        used = self._open()
        answer, reply = self._send(method, params)
        if answer.code in _NOT_LOGGED_IN and used == before:
            self._open(stale=used)
            answer, reply = self._send(method, params)
        if answer.code not in {*_DONE, *ok}:
            raise self._error(answer)
        return answer, reply

    def _send(self, method: str, params: Mapping[str, object]) -> tuple[_Answer, Reply]:
        reply = self._api.call(
            "POST", "/", Body(json={"method": method, "params": params}, again=method == "nameserver.info")
        )
        return reply.parse(_Answer), reply

    def _open(self, *, stale: str = "") -> str:
        """Log in unless there is a session other than the stale one; gives its cookie."""
        with self._lock:
            if self._until is not None and self._runtime.clock() < self._until and self._cookie != stale:
                return self._cookie
            self._cookie, self._until = "", None
            answer, reply = self._send("account.login", {"user": self._login.user, "pass": self._login.password})
            if answer.code not in _DONE:
                raise self._error(answer, login=True)
            self._cookie = _cookie(reply.headers.get("set-cookie", ""))
            if reply.parse(_LoggedIn).resData.tfa == _TWO_FACTORS:
                self._unlock()
            self._until = self._runtime.clock() + _SESSION_KEPT
            return self._cookie

    def _unlock(self) -> None:
        """Give the TOTP code; once more with the next one, since another process may have spent the first."""
        if self._login.shared is None:
            raise self._api.rejected(f"the account has two-factor login and {_SHARED.name} is not set")
        answer, _ = self._send("account.unlock", {"tan": self._code(self._login.shared)})
        if answer.code not in _DONE:
            answer, _ = self._send("account.unlock", {"tan": self._code(self._login.shared)})
        if answer.code not in _DONE:
            raise self._error(answer, login=True)

    def _code(self, key: bytes) -> str:
        """A code not used before (RFC 6238); waits for the next one, up to half a minute, when it must."""
        seconds = self._runtime.clock().timestamp()
        step = max(int(seconds // _STEP), self._spent + 1)
        if step * _STEP > seconds:
            self._runtime.sleep(step * _STEP - seconds)
        self._spent = step
        return totp(key, step)

    def _sign(self, request: requests.PreparedRequest) -> None:
        request.headers.pop("Cookie", None)
        if self._cookie:
            request.headers["Cookie"] = self._cookie

    def _error(self, answer: _Answer, *, login: bool = False) -> KnitError:
        if answer.code in _TOO_MANY:
            return self._api.limited(answer.said)
        if answer.code in _PASSING:
            return Unreachable(f"inwx cannot serve now: {answer.said}")
        rejected = login or answer.code in _FORBIDDEN
        return self._api.rejected(answer.said) if rejected else self._api.refused(answer.said)


def totp(key: bytes, step: int) -> str:
    """The six digits for a time step (RFC 4226 section 5.3, RFC 6238)."""
    digest = hmac.digest(key, struct.pack(">Q", step), "sha1")
    offset = digest[-1] & 0xF
    number: int = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def _cookie(text: str) -> str:
    """Name and value of the cookies in a Set-Cookie header."""
    try:
        cookies = SimpleCookie(text)
    except CookieError:
        raise Unreachable("inwx: the session's cookie cannot be read") from None
    return "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())


def _shared(values: Values) -> bytes | None:
    text = values.get(_SHARED)
    if text is None:
        return None
    packed = text.replace(" ", "").rstrip("=").upper()
    try:
        return base64.b32decode(packed + "=" * (-len(packed) % 8))
    except (binascii.Error, ValueError):
        raise Misconfigured(f"{_SHARED.name} is not base32") from None


def _build(values: Values, runtime: Runtime) -> Solver:
    login = Login(user=values.text(_USER), password=values.text(_PASSWORD), shared=_shared(values))
    url = _SANDBOX_URL if values.flag(_SANDBOX) else _URL
    return Inwx(login, _KNOBS.timing(values), runtime, url=url)


PROVIDER = Provider(
    code="inwx",
    title="INWX",
    url="https://www.inwx.com/en/help/apidoc",
    required=((_USER, _PASSWORD),),
    variables=(_SHARED, _SANDBOX),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="INWX's smallest TTL is 300 s; a smaller one is raised to it. A two-factor code works once in 30 s: with "
    "several workers, a sub-account without two-factor login spares them waiting for each other.",
)
