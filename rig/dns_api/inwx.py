"""Fake INWX DomRobot, after https://www.inwx.com/en/help/apidoc (JSON-RPC; result codes in its chapter 4)."""

from __future__ import annotations

from itertools import count
from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_CREATE = {"domain", "type", "content", "name", "ttl"}
_SHORTEST_TTL = 300


class FakeInwx(FakeApi):
    """One account. With `codes`, logging in takes one of these TOTP codes, each good once."""

    user = "somebody"
    password = "inwx-password-canary"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, dict[int, dict[str, Any]]] = {}
        self.codes: list[str] | None = None
        self.sessions: dict[str, bool] = {}
        self.logins = 0
        self._ids = count(7001)

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = {}
        self._add(zone, {"name": zone, "type": "SOA", "content": "ns.inwx.de hostmaster.inwx.de 1", "ttl": 86400})

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self._add(zone, {"name": fqdn, "type": "TXT", "content": value, "ttl": 3600})

    def values(self, fqdn: str) -> list[str]:
        return [
            record["content"]
            for records in self.zones.values()
            for record in records.values()
            if (record["name"], record["type"]) == (fqdn, "TXT")
        ]

    def is_write(self, request: Request) -> bool:
        return b"createRecord" in request.body or b"deleteRecord" in request.body

    def handle(self, request: Request) -> Response:
        if (request.method, request.path) != ("POST", "/") or set(request.json) != {"method", "params"}:
            raise Complaint(f"no such call: {request.method} {request.path}")
        method, params = request.json["method"], request.json["params"]
        if method == "account.login":
            return self._login(params)
        session = request.headers.get("cookie", "").removeprefix("domrobot=")
        if session not in self.sessions:
            return _answer(2002, "Command use error")
        if method == "account.unlock":
            return self._unlock(session, params)
        if not self.sessions[session]:
            return _answer(2200, "Authentication error")
        return self._serve(method, params)

    def _serve(self, method: str, params: dict[str, Any]) -> Response:
        match method:
            case "nameserver.info":
                return self._info(params)
            case "nameserver.createRecord":
                return self._create(params)
            case "nameserver.deleteRecord":
                return self._delete(params)
        raise Complaint(f"no such method: {method}")

    def _login(self, params: dict[str, str]) -> Response:
        if set(params) - {"lang"} != {"user", "pass"}:
            raise Complaint(f"a login has other parameters than {sorted(params)}")
        if params["user"] != self.user or params["pass"] != self.password:
            return _answer(2200, "Authentication error")
        self.logins += 1
        session = f"session{self.logins}"
        self.sessions[session] = self.codes is None
        data = {"customerId": 1, "accountId": 2, "tfa": "0" if self.codes is None else "GOOGLE-AUTH"}
        cookie = f"domrobot={session}; path=/; secure; HttpOnly; expires=Thu, 01-Jan-2099 00:00:00 GMT"
        return json_response({**_body(1000, "Command completed successfully"), "resData": data}, Set_Cookie=cookie)

    def _unlock(self, session: str, params: dict[str, str]) -> Response:
        if set(params) != {"tan"}:
            raise Complaint(f"account.unlock has other parameters than {sorted(params)}")
        if self.codes is None or params["tan"] not in self.codes:
            return _answer(2400, "Command failed")
        self.codes.remove(params["tan"])
        self.sessions[session] = True
        return _answer(1000, "Command completed successfully")

    def _info(self, params: dict[str, str]) -> Response:
        if set(params) - {"name", "type"} != {"domain"}:
            raise Complaint(f"nameserver.info has other parameters than {sorted(params)}")
        if params["domain"] not in self.zones:
            return _answer(2303, "Object does not exist")
        records = [
            record
            for record in self.zones[params["domain"]].values()
            if params.get("name", record["name"]) == record["name"]
            and params.get("type", record["type"]) == record["type"]
        ]
        data = {"roId": 1, "domain": params["domain"], "type": "MASTER", "count": len(records)}
        # Without a match the list is left out.
        data |= {"record": records} if records else {}
        return json_response({**_body(1000, "Command completed successfully"), "resData": data})

    def _create(self, params: dict[str, Any]) -> Response:
        zone = params["domain"]
        if set(params) - {"prio"} != _CREATE:
            raise Complaint(f"nameserver.createRecord has other parameters than {sorted(params)}")
        if zone not in self.zones:
            return _answer(2303, "Object does not exist")
        if not isinstance(params["ttl"], int) or params["ttl"] < _SHORTEST_TTL:
            raise Complaint(f"Parameter value range error: ttl {params['ttl']}")
        if params["name"] != zone and not params["name"].endswith(f".{zone}"):
            raise Complaint(f"{params['name']} is not in {zone}")
        wanted = {name: params[name] for name in ("name", "type", "content")}
        if any(wanted.items() <= record.items() for record in self.zones[zone].values()):
            return _answer(2302, "Object exists")
        number = self._add(zone, {**wanted, "ttl": params["ttl"]})
        return json_response({**_body(1000, "Command completed successfully"), "resData": {"id": number}})

    def _delete(self, params: dict[str, Any]) -> Response:
        if set(params) != {"id"}:
            raise Complaint(f"nameserver.deleteRecord has other parameters than {sorted(params)}")
        zone = next((records for records in self.zones.values() if params["id"] in records), None)
        if zone is None:
            return _answer(2303, "Object does not exist")
        del zone[params["id"]]
        return _answer(1000, "Command completed successfully")

    def _add(self, zone: str, record: dict[str, Any]) -> int:
        number = next(self._ids)
        self.zones[zone][number] = {"id": number, "prio": 0, **record}
        return number


def _body(code: int, said: str) -> dict[str, object]:
    return {"code": code, "msg": said, "runtime": 0.0421, "svTRID": "20260301-1"}


def _answer(code: int, said: str) -> Response:
    return json_response(_body(code, said))
