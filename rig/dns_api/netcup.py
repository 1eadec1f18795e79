"""Fake netcup CCP API, after https://ccp.netcup.net/run/webservice/servers/endpoint.php (its JSON side).

The status codes of errors are those users report: 4001 session, 4013 validation, 5028 and 5029 zone not found.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_WHO = {"customernumber", "apikey", "apisessionid"}
_RECORD = {"id", "hostname", "type", "priority", "destination", "deleterecord", "state"}
_REQUIRED = {"hostname", "type", "destination"}


class FakeNetcup(FakeApi):
    """One customer; `sessions` are those that count, newest last."""

    customer = "12345"
    key = "netcup-key-canary"
    password = "netcup-password-canary"
    labels = 4
    """Names with more labels are no domain names here."""

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, dict[str, dict[str, Any]]] = {}
        self.sessions: list[str] = []
        self.logins = 0
        self.hides_empty_zones = ""
        self._ids = count(1001)

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = {}
        self._add(zone, {"hostname": "@", "type": "A", "destination": "192.0.2.1"})

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        name = fqdn.removesuffix(zone).rstrip(".") or "@"
        self._add(zone, {"hostname": name, "type": "TXT", "destination": value})

    def values(self, fqdn: str) -> list[str]:
        return [
            record["destination"]
            for zone, records in self.zones.items()
            for record in records.values()
            if record["type"] == "TXT" and self._fqdn(record["hostname"], zone) == fqdn
        ]

    def is_write(self, request: Request) -> bool:
        return b"updateDnsRecords" in request.body

    def handle(self, request: Request) -> Response:
        if request.method != "POST" or request.path not in {"/", ""} or dict(request.query) != {"JSON": ""}:
            raise Complaint(f"no such call: {request.method} {request.path} {dict(request.query)}")
        body = request.json
        if set(body) != {"action", "param"}:
            raise Complaint(f"a call is an action and its parameters: {sorted(body)}")
        action, param = body["action"], body["param"]
        if action == "login":
            return self._login(param)
        if (param["customernumber"], param["apikey"]) != (self.customer, self.key):
            return self._no(action, 4013, "Validation Error.", "Value in field apikey does not match requirements")
        if param["apisessionid"] not in self.sessions:
            return self._no(
                action, 4001, "Api session id in invalid format", "The session id is not in a valid format."
            )
        match action:
            case "infoDnsRecords":
                return self._info(param)
            case "updateDnsRecords":
                return self._update(param)
        raise Complaint(f"no such action: {action}")

    def _login(self, param: dict[str, str]) -> Response:
        if set(param) != {"customernumber", "apikey", "apipassword"}:
            raise Complaint(f"a login has other parameters than {sorted(param)}")
        self.logins += 1
        if param != {"customernumber": self.customer, "apikey": self.key, "apipassword": self.password}:
            return self._no("login", 4013, "Login failed", "The login to the API failed.")
        self.sessions.append(f"session-{self.logins}")
        return self._yes("login", {"apisessionid": self.sessions[-1]})

    def _info(self, param: dict[str, str]) -> Response:
        if set(param) != {*_WHO, "domainname"}:
            raise Complaint(f"infoDnsRecords has other parameters than {sorted(param)}")
        zone = param["domainname"]
        if zone.count(".") >= self.labels:
            said = "Value in field domainname does not match requirements of type: domainname. "
            return self._no("", 4013, "Validation Error.", said)
        if zone in self.zones and not self.zones[zone] and self.hides_empty_zones:
            return self._no("infoDnsRecords", 5029, "DNS records not found", self.hides_empty_zones)
        if zone not in self.zones:
            said = f"Can not get DNS records for zone. The zone {zone} could not be found."
            return self._no("infoDnsRecords", 5029, "DNS records not found", said)
        return self._yes("infoDnsRecords", {"dnsrecords": list(self.zones[zone].values())})

    def _update(self, param: dict[str, Any]) -> Response:
        if set(param) != {*_WHO, "domainname", "dnsrecordset"} or set(param["dnsrecordset"]) != {"dnsrecords"}:
            raise Complaint(f"updateDnsRecords has other parameters than {sorted(param)}")
        zone = param["domainname"]
        if zone not in self.zones:
            said = f"Can not update (all) DNS records for zone. The zone {zone} could not be found."
            return self._no("updateDnsRecords", 5028, "Update of DNS records failed", said)
        for record in param["dnsrecordset"]["dnsrecords"]:
            if set(record) - _RECORD or not set(record) >= _REQUIRED or not record["hostname"]:
                raise Complaint(f"not a record: {record}")
            if not self._apply(zone, record):
                return self._no("updateDnsRecords", 4013, "Validation Error.", "The record id is unknown.")
        return self._yes("updateDnsRecords", {"dnsrecords": list(self.zones[zone].values())})

    def _apply(self, zone: str, record: dict[str, Any]) -> bool:
        if "id" not in record:
            self._add(zone, record)
            return True
        known = self.zones[zone].get(record["id"])
        if known is None or any(record[name] != known[name] for name in _REQUIRED):
            return False
        if record.get("deleterecord") is True:
            del self.zones[zone][record["id"]]
        return True

    def _add(self, zone: str, record: dict[str, Any]) -> None:
        number = str(next(self._ids))
        self.zones[zone][number] = {"priority": "0", "deleterecord": False, "state": "yes", **record, "id": number}

    @staticmethod
    def _fqdn(hostname: str, zone: str) -> str:
        return zone if hostname == "@" else f"{hostname}.{zone}"

    @staticmethod
    def _yes(action: str, data: object) -> Response:
        return answer(action, "success", 2000, ("Done", "It was done."), data)

    @staticmethod
    def _no(action: str, code: int, short: str, long: str) -> Response:
        return answer(action, "error", code, (short, long), "")


def answer(action: str, status: str, code: int, said: tuple[str, str], data: object) -> Response:
    return json_response(
        {
            "serverrequestid": "QWR2VVGF",
            "clientrequestid": "",
            "action": action,
            "status": status,
            "statuscode": code,
            "shortmessage": said[0],
            "longmessage": said[1],
            "responsedata": data,
        }
    )
