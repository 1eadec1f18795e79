"""Fake Scaleway Domains and DNS API, after https://www.scaleway.com/en/developers/api/domains-and-dns/."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r'"(?:[^"\\]|\\.)*"')


class FakeScaleway(FakeApi):
    """Zones and records of one project. A zone of three labels or more is shown as a subdomain of its domain."""

    secret = "11111111-scaleway-secret-canary"
    project = "22222222-2222-2222-2222-222222222222"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, list[dict[str, Any]]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = []
        self._add(zone, name="", type="NS", data="ns0.dom.scw.cloud.", ttl=1800)

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self._add(zone, name=fqdn.removesuffix(zone).rstrip("."), type="TXT", data=f'"{value}"', ttl=3600)

    def values(self, fqdn: str) -> list[str]:
        return [
            json.loads(row["data"])
            for zone, rows in self.zones.items()
            for row in rows
            if row["type"] == "TXT" and f"{row['name']}.{zone}".lstrip(".") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("x-auth-token") != self.secret:
            said = {"message": "authentication is denied", "method": "api_key", "reason": "not_found"}
            return json_response({**said, "type": "denied_authentication"}, 401)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["dns-zones"]:
                return self._find(request)
            case _, ["dns-zones", zone, "records"] if zone not in self.zones:
                return _missing("dns-zone", zone)
            case "GET", ["dns-zones", zone, "records"]:
                return self._list(zone, request)
            case "PATCH", ["dns-zones", zone, "records"]:
                return self._change(zone, request.json)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _add(self, zone: str, **row: object) -> None:
        self.zones[zone].append({"id": str(uuid4()), "priority": 0, "comment": None, **row})

    def _find(self, request: Request) -> Response:
        query = request.query
        if set(query) - {"dns_zone", "project_id", "page", "page_size"}:
            raise Complaint(f"no such question: {query}")
        mine = query.get("project_id", self.project) == self.project
        # The documentation does not say that the filter is exact, so here it is not.
        names = [zone for zone in self.zones if mine and zone.endswith(query["dns_zone"].partition(".")[2])]
        return self._page("dns_zones", [_zone(name) for name in names], request)

    def _list(self, zone: str, request: Request) -> Response:
        query = request.query
        if set(query) - {"name", "type", "page", "page_size"}:
            raise Complaint(f"no such question: {query}")
        rows = [row for row in self.zones[zone] if query["name"] in {"", row["name"]} and row["type"] == query["type"]]
        return self._page("records", rows, request)

    def _page(self, title: str, rows: Sequence[object], request: Request) -> Response:
        page, size = int(request.query["page"]), int(request.query["page_size"])
        if page < 1 or not 1 <= size <= 100:
            raise Complaint(f"no such page: {request.query}")
        shown = rows[(page - 1) * self.page_size : page * self.page_size]
        return json_response({"total_count": len(rows), title: shown})

    def _change(self, zone: str, wanted: dict[str, Any]) -> Response:
        if wanted.get("disallow_new_zone_creation") is not True or wanted.get("return_all_records") is not False:
            raise Complaint("a missing zone would be made, or all its records shown")
        [change] = wanted["changes"]
        match change:
            case {"add": {"records": [row]}}:
                self._create(zone, row)
            case {"delete": {"id": found}}:
                if all(row["id"] != found for row in self.zones[zone]):
                    return _missing("record", found)
                self.zones[zone] = [row for row in self.zones[zone] if row["id"] != found]
            case _:
                raise Complaint(f"no such change: {change}")
        return json_response({"records": []})

    def _create(self, zone: str, row: dict[str, Any]) -> None:
        if set(row) != {"name", "type", "data", "ttl"} or row["type"] != "TXT" or row["ttl"] < 60:
            raise Complaint(f"not a TXT record: {row}")
        if not _TXT.fullmatch(row["data"]):
            raise Complaint(f"the value is not quoted: {row}")
        self._add(zone, **row)


def _zone(name: str) -> dict[str, object]:
    labels = name.split(".")
    return {"domain": ".".join(labels[-2:]), "subdomain": ".".join(labels[:-2]), "status": "active", "ns": []}


def _missing(resource: str, name: str) -> Response:
    said = {"message": "resource is not found", "resource": resource, "resource_id": name, "type": "not_found"}
    return json_response(said, 404)
