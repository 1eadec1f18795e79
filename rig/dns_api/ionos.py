"""Fake IONOS hosting DNS API, after https://developer.hosting.ionos.com/docs/dns."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_MEMBERS = {"name", "type", "content", "ttl", "disabled"}


class FakeIonos(FakeApi):
    """Zones and records of one contract. TXT content comes back in quotes, a record may exist once."""

    key = "ionosprefix.ionos-secret-canary"

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, str] = {}
        self.zones: dict[str, list[dict[str, Any]]] = {}

    def add_zone(self, zone: str) -> None:
        self.ids[zone] = str(uuid4())
        self.zones[zone] = []
        self._add(zone, name=zone, type="NS", content="ns1.ui-dns.com", ttl=86400)

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self._add(zone, name=fqdn, type="TXT", content=json.dumps(value), ttl=3600)

    def values(self, fqdn: str) -> list[str]:
        rows = [row for rows in self.zones.values() for row in rows]
        return [json.loads(row["content"]) for row in rows if (row["name"], row["type"]) == (fqdn, "TXT")]

    def handle(self, request: Request) -> Response:
        if request.headers.get("x-api-key") != self.key:
            return _error(401, "UNAUTHORIZED", "The customer is not authorized to do this operation.")
        match request.path.strip("/").split("/"):
            case ["zones"] if request.method == "GET":
                return json_response([{"name": n, "id": found, "type": "NATIVE"} for n, found in self.ids.items()])
            case ["zones", found, *rest]:
                zone = next((name for name, known in self.ids.items() if known == found), None)
                if zone is None:
                    return _error(404, "ZONE_NOT_FOUND", "Zone does not exist.")
                return self._records(request, zone, rest)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _records(self, request: Request, zone: str, rest: list[str]) -> Response:
        match request.method, rest:
            case "GET", []:
                return self._show(zone, request)
            case "POST", ["records"]:
                return self._create(zone, request.json)
            case "DELETE", ["records", found]:
                return self._delete(zone, found)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _add(self, zone: str, **row: object) -> dict[str, Any]:
        made = {"id": str(uuid4()), "rootName": zone, "disabled": False, **row}
        self.zones[zone].append(made)
        return made

    def _show(self, zone: str, request: Request) -> Response:
        if set(request.query) != {"recordName", "recordType"}:
            raise Complaint(f"no such question: {request.query}")
        name, kind = request.query["recordName"], request.query["recordType"]
        rows = [row for row in self.zones[zone] if (row["name"], row["type"]) == (name, kind)]
        return json_response({"id": self.ids[zone], "name": zone, "type": "NATIVE", "records": rows})

    def _create(self, zone: str, rows: list[dict[str, Any]]) -> Response:
        [row] = rows
        if set(row) != _MEMBERS or row["type"] != "TXT" or row["ttl"] < 60 or row["content"].startswith('"'):
            raise Complaint(f"not a TXT record: {row}")
        if row["name"] != zone and not row["name"].endswith(f".{zone}"):
            raise Complaint(f"{row['name']} is not in {zone}")
        if row["content"] in self.values(row["name"]):
            return _error(400, "INVALID_RECORD", "Record already exists.")
        return json_response([self._add(zone, **{**row, "content": json.dumps(row["content"])})], 201)

    def _delete(self, zone: str, found: str) -> Response:
        if all(row["id"] != found for row in self.zones[zone]):
            return _error(404, "RECORD_NOT_FOUND", "Record does not exist.")
        self.zones[zone] = [row for row in self.zones[zone] if row["id"] != found]
        return Response()


def _error(status: int, code: str, message: str) -> Response:
    return json_response([{"code": code, "message": message}], status)
