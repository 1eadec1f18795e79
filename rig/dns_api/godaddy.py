"""Fake GoDaddy API, after https://developer.godaddy.com/doc/endpoint/domains."""

from __future__ import annotations

from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

Row = dict[str, Any]


class FakeGoDaddy(FakeApi):
    """Domains and TXT records of one account. Adding a record that is there is an error."""

    key = "godaddy-key-canary"
    secret = "godaddy-secret-canary"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, dict[str, list[Row]]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = {}

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.seed_written(zone, fqdn, {"data": value, "ttl": 3600})

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        name = fqdn.removesuffix(zone).rstrip(".") or "@"
        self.zones[zone].setdefault(name, []).append(written)

    def values(self, fqdn: str) -> list[str]:
        return [row["data"] for row in self.written(fqdn)]

    def written(self, fqdn: str) -> list[Any]:
        return [
            row
            for zone, names in self.zones.items()
            for name, rows in names.items()
            for row in rows
            if (zone if name == "@" else f"{name}.{zone}") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"sso-key {self.key}:{self.secret}":
            return _error(401, "UNABLE_TO_AUTHENTICATE", "Unauthorized : Could not authenticate API key/secret")
        match request.path.strip("/").split("/"):
            case ["v1", "domains", zone, *_] if "_" in zone and zone not in self.zones:
                return _error(422, "INVALID_BODY", "Request body doesn't fulfill schema, see details in `fields`")
            case ["v1", "domains", zone, *_] if zone not in self.zones:
                return _error(404, "NOT_FOUND", f"Domain {zone} not found for shopper")
            case ["v1", "domains", zone] if request.method == "GET":
                return json_response({"domain": zone, "domainId": 1, "status": "ACTIVE"})
            case ["v1", "domains", zone, "records"] if request.method == "PATCH":
                return self._add(zone, request.json)
            case ["v1", "domains", zone, "records", "TXT", name]:
                return self._named(request, zone, name)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _named(self, request: Request, zone: str, name: str) -> Response:
        match request.method:
            case "GET":
                rows = self.zones[zone].get(name, [])
                return json_response([{**row, "name": name, "type": "TXT"} for row in rows])
            case "PUT":
                self._check(request.json, {"data", "ttl"})
                self.zones[zone][name] = request.json
                return Response()
            case "DELETE" if self.zones[zone].pop(name, None) is None:
                return _error(404, "NOT_FOUND", "Record not found")
            case "DELETE":
                return Response(status=204)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _add(self, zone: str, wanted: list[Row]) -> Response:
        self._check(wanted, {"type", "name", "data", "ttl"})
        for row in wanted:
            if row["type"] != "TXT" or row["name"].endswith(zone):
                raise Complaint(f"not a TXT record, or its name is not relative: {row}")
            rows = self.zones[zone].setdefault(row["name"], [])
            if any(there["data"] == row["data"] for there in rows):
                return _error(422, "DUPLICATE_RECORD", "Another record with the same attributes already exists")
            rows.append({"data": row["data"], "ttl": row["ttl"]})
        return Response()

    @staticmethod
    def _check(rows: list[Row], members: set[str]) -> None:
        if not rows or any(set(row) != members for row in rows):
            raise Complaint(f"no records, or other members than {members}: {rows}")
        if not all(row["data"] for row in rows):
            raise Complaint(f"a record without data: {rows}")
        if any(not 600 <= row["ttl"] <= 604800 or len(row["data"]) > 512 or '"' in row["data"] for row in rows):
            raise Complaint(f"a TTL or a value is out of bounds: {rows}")


def _error(status: int, code: str, message: str) -> Response:
    return json_response({"code": code, "message": message}, status)
