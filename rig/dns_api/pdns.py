"""Fake PowerDNS HTTP API, after https://doc.powerdns.com/authoritative/http-api/zone.html.

A real server is in rig/powerdns.py; this one is for faults.
"""

from __future__ import annotations

import json
import re
from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r'("(?:[^"\\]|\\.)*"\s*)+')
_BASE = ["api", "v1", "servers", "localhost", "zones"]
_Set = dict[str, Any]


class FakePdns(FakeApi):
    """One server named localhost. `kind` is that of all zones; `notified` the zones whose secondaries were told."""

    key = "pdns-key-canary"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, dict[str, _Set]] = {}
        self.kind = "Native"
        self.notified: list[str] = []

    def add_zone(self, zone: str) -> None:
        self.zones[f"{zone}."] = {}

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.seed_written(zone, fqdn, {"content": json.dumps(value), "disabled": False})

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        entry = self.zones[f"{zone}."].setdefault(f"{fqdn}.", _set(f"{fqdn}.", 77))
        entry["records"].append(written)

    def written(self, fqdn: str) -> list[Any]:
        found = (sets.get(f"{fqdn}.") for sets in self.zones.values())
        return [record for entry in found if entry is not None for record in entry["records"]]

    def values(self, fqdn: str) -> list[str]:
        return [
            json.loads(record["content"])
            for sets in self.zones.values()
            for name, entry in sets.items()
            for record in entry["records"]
            if name == f"{fqdn}." and not record["disabled"]
        ]

    def is_write(self, request: Request) -> bool:
        return request.method == "PATCH"

    def handle(self, request: Request) -> Response:
        if request.headers.get("x-api-key") != self.key:
            return Response(status=401, body=b"Unauthorized")
        *base, zone = request.path.removesuffix("/notify").strip("/").split("/")
        if base != _BASE:
            raise Complaint(f"no such call: {request.method} {request.path}")
        if zone not in self.zones:
            return json_response({"error": "Not Found"}, 404)
        match request.method, request.path.endswith("/notify"):
            case "GET", False:
                return self._zone(zone, dict(request.query))
            case "PATCH", False:
                return self._patch(zone, request.json)
            case "PUT", True:
                return self._notify(zone)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _zone(self, zone: str, query: dict[str, str]) -> Response:
        if set(query) - {"rrsets", "rrset_name", "rrset_type"}:
            raise Complaint(f"no such parameters: {sorted(query)}")
        found = {"id": zone, "name": zone, "type": "Zone", "kind": self.kind, "serial": 1, "dnssec": False}
        if query.get("rrsets") != "false":
            sets = self.zones[zone]
            found["rrsets"] = [sets[name] for name in sets if query.get("rrset_name", name) == name]
        return json_response(found)

    def _patch(self, zone: str, body: _Set) -> Response:
        for change in body["rrsets"]:
            name = change["name"]
            if not name.endswith(".") or (name != zone and not name.endswith(f".{zone}")):
                return json_response({"error": f"RRset {name} IN TXT: Name is out of zone"}, 422)
            if change["type"] != "TXT" or change["changetype"] not in {"REPLACE", "DELETE"}:
                raise Complaint(f"not a change of TXT records: {change}")
            if change["changetype"] == "DELETE":
                self.zones[zone].pop(name, None)
                continue
            self.zones[zone][name] = _checked(change)
        return Response(status=204)

    def _notify(self, zone: str) -> Response:
        if self.kind not in {"Master", "Slave"}:
            return json_response({"error": f"Domain '{zone}' is not a master domain"}, 422)
        self.notified.append(zone)
        return json_response({"result": "Notification queued"})


def _set(name: str, ttl: int) -> _Set:
    return {"name": name, "type": "TXT", "ttl": ttl, "records": [], "comments": []}


def _checked(change: _Set) -> _Set:
    texts = [record["content"] for record in change["records"]]
    if set(change) != {"name", "type", "ttl", "changetype", "records"} or not isinstance(change["ttl"], int):
        raise Complaint(f"a record set has other members than {sorted(change)}")
    if len(set(texts)) != len(texts) or not all(_TXT.fullmatch(text) for text in texts):
        raise Complaint(f"Duplicate record in RRset, or text without quotes: {texts}")
    return {**_set(change["name"], change["ttl"]), "records": change["records"]}
