"""Fakes of both Hetzner APIs, after https://docs.hetzner.cloud/reference/cloud#tag/zone-rrset-actions and
https://dns.hetzner.com/api-docs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import count

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass
class RecordSet:
    ttl: int | None
    texts: list[str] = field(default_factory=list)


class FakeHetzner(FakeApi):
    """Zones of one project. `slow`: an action is seen running twice before it has succeeded, or got stuck."""

    token = "hetzner-cloud-canary"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, dict[str, RecordSet]] = {}
        self.actions: dict[int, list[str]] = {}
        self.ids = count(1)
        self.slow: list[str] = []

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = {}

    def seed(self, zone: str, fqdn: str, value: str, ttl: int | None = None) -> None:
        name = fqdn.removesuffix(zone).rstrip(".") or "@"
        self.zones[zone].setdefault(name, RecordSet(ttl)).texts.append(f'"{value}"')

    def values(self, fqdn: str) -> list[str]:
        return [
            json.loads(text)
            for zone, sets in self.zones.items()
            for name, found in sets.items()
            for text in found.texts
            if (zone if name == "@" else f"{name}.{zone}") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, "unauthorized", "unable to authenticate")
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["actions", action]:
                return self._action(int(action), 200)
            case "GET", ["zones", zone]:
                return json_response({"zone": {"id": 1, "name": zone}}) if zone in self.zones else _not_found()
            case "GET", ["zones", zone, "rrsets", name, "TXT"]:
                return self._shown(zone, name)
            case "POST", ["zones", zone, "rrsets", name, "TXT", "actions", verb]:
                return self._change(zone, name, verb, request.json)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _shown(self, zone: str, name: str) -> Response:
        found = self.zones.get(zone, {}).get(name)
        if found is None:
            return _not_found()
        records = [{"value": text, "comment": ""} for text in found.texts]
        rrset: dict[str, object] = {
            "id": f"{name}/TXT",
            "name": name,
            "type": "TXT",
            "ttl": found.ttl,
            "records": records,
            "labels": {},
        }
        return json_response({"rrset": rrset})

    def _change(self, zone: str, name: str, verb: str, body: dict[str, object]) -> Response:
        texts = [str(record["value"]) for record in _listed(body["records"])]
        if not texts or len(set(texts)) < len(texts) or not all(_TXT.fullmatch(text) for text in texts):
            raise Complaint(f"values are missing, doubled or not quoted: {texts}")
        if zone not in self.zones:
            return _not_found()
        sets = self.zones[zone]
        match verb:
            case "add_records" if set(body) <= {"records", "ttl"}:
                return self._add(sets, name, texts, body.get("ttl"))
            case "remove_records" if set(body) == {"records"}:
                return self._remove(sets, name, texts)
        raise Complaint(f"no such action: {verb} {body}")

    def _add(self, sets: dict[str, RecordSet], name: str, texts: list[str], ttl: object) -> Response:
        if ttl is not None and (not isinstance(ttl, int) or not 60 <= ttl <= 2147483647):
            raise Complaint(f"ttl is out of bounds: {ttl}")
        found = sets.get(name) or RecordSet(ttl)
        if ttl is not None and found.ttl not in {None, ttl}:
            return _error(422, "invalid_input", "the TTL is not that of the record set")
        if set(texts) & set(found.texts):
            return _error(422, "invalid_input", "record already exists")
        sets[name] = found
        found.texts.extend(texts)
        return self._start()

    def _remove(self, sets: dict[str, RecordSet], name: str, texts: list[str]) -> Response:
        found = sets.get(name)
        if found is None or not set(texts) <= set(found.texts):
            return _not_found()
        found.texts = [text for text in found.texts if text not in texts]
        if not found.texts:
            del sets[name]
        return self._start()

    def _start(self) -> Response:
        action = next(self.ids)
        self.actions[action] = [*self.slow, "success"]
        return self._action(action, 201)

    def _action(self, action: int, http: int) -> Response:
        left = self.actions[action]
        status = left.pop(0) if len(left) > 1 else left[0]
        error = {"code": "action_failed", "message": "out of luck"} if status == "error" else None
        return json_response({"action": {"id": action, "status": status, "progress": 0, "error": error}}, http)


class FakeHetznerConsole(FakeApi):
    """Zones of one account of the old DNS Console."""

    key = "hetzner-console-canary"

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(1)
        self.zones: dict[str, str] = {}
        self.rows: dict[str, dict[str, object]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[f"zone{next(self.ids)}"] = zone

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        zone_id = next(zone_id for zone_id, name in self.zones.items() if name == zone)
        name = fqdn.removesuffix(zone).rstrip(".") or "@"
        self._add({"zone_id": zone_id, "type": "TXT", "name": name, "value": f'"{value}"', "ttl": 300})

    def values(self, fqdn: str) -> list[str]:
        return [str(row["value"]).strip('"') for row in self.rows.values() if self._full(row) == fqdn]

    def handle(self, request: Request) -> Response:
        if request.headers.get("auth-api-token") != self.key:
            return json_response({"message": "Invalid authentication credentials"}, 401)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["zones"]:
                return self._find(request.query["name"])
            case "GET", ["records"]:
                return self._list(request)
            case "POST", ["records"]:
                return self._create(request.json)
            case "DELETE", ["records", found]:
                gone = self.rows.pop(found, None) is None
                return json_response({"error": {"message": "record not found", "code": 404}}, 404 if gone else 200)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _find(self, name: str) -> Response:
        zones = [{"id": zone_id, "name": zone} for zone_id, zone in self.zones.items() if zone == name]
        if not zones:
            return json_response({"zones": [], "error": {"message": "zone not found", "code": 404}}, 404)
        return json_response({"zones": zones, "meta": {"pagination": _pages(1, 1, 1)}})

    def _list(self, request: Request) -> Response:
        if not 1 <= int(request.query["per_page"]) <= 100:
            raise Complaint("per_page is out of bounds")
        rows = [row for row in self.rows.values() if row["zone_id"] == request.query["zone_id"]]
        page, size = int(request.query["page"]), self.page_size
        shown = rows[(page - 1) * size : page * size]
        meta = {"pagination": _pages(page, max(1, -(-len(rows) // size)), len(rows))}
        return json_response({"records": shown, "meta": meta})

    def _create(self, row: dict[str, object]) -> Response:
        if set(row) != {"zone_id", "type", "name", "value", "ttl"} or row["type"] != "TXT" or not row["name"]:
            raise Complaint(f"not a TXT record: {row}")
        if row["zone_id"] not in self.zones or str(row["name"]).endswith(self.zones[str(row["zone_id"])]):
            raise Complaint(f"no such zone, or a name that is not relative: {row}")
        return json_response({"record": self._add(row)})

    def _add(self, row: dict[str, object]) -> dict[str, object]:
        new = {"id": f"{next(self.ids):032x}", **row, "created": "2026-01-01", "modified": "2026-01-01"}
        self.rows[str(new["id"])] = new
        return new

    def _full(self, row: dict[str, object]) -> str:
        zone = self.zones[str(row["zone_id"])]
        return zone if row["name"] == "@" else f"{row['name']}.{zone}"


def _pages(page: int, last: int, total: int) -> dict[str, int]:
    return {"page": page, "per_page": 100, "last_page": last, "total_entries": total}


def _listed(records: object) -> list[dict[str, object]]:
    if not isinstance(records, list):
        raise Complaint("records is not a list")
    return records


def _not_found() -> Response:
    return _error(404, "not_found", "resource not found")


def _error(status: int, code: str, message: str) -> Response:
    return json_response({"error": {"code": code, "message": message, "details": None}}, status)
