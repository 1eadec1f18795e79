"""Fake Infomaniak API version 2, after https://developer.infomaniak.com/docs/api/get/2/zones/%7Bzone%7D/records."""

from __future__ import annotations

import json
import re
from itertools import count
from math import ceil
from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_FILTER = {"filter[source]", "filter[types][]", "page", "per_page"}


class FakeInfomaniak(FakeApi):
    """Zones and records of one account. The same TXT record may be created twice."""

    token = "infomaniak-token-canary"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, list[dict[str, Any]]] = {}
        self._numbers = count(7001)

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = []
        self._add(zone, type="NS", source=".", target="ns11.infomaniak.ch", ttl=3600)

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        source = fqdn.removesuffix(zone).rstrip(".") or "."
        self._add(zone, type="TXT", source=source, target=f'"{value}"', ttl=3600)

    def values(self, fqdn: str) -> list[str]:
        return [
            json.loads(row["target"])
            for zone, rows in self.zones.items()
            for row in rows
            if row["type"] == "TXT" and f"{row['source'].strip('.')}.{zone}".lstrip(".") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, "not_authorized", "Authorization required")
        match request.method, request.path.strip("/").split("/"):
            case _, ["2", "zones", zone, *_] if zone not in self.zones:
                return _error(404, "object_not_found", "Object not found")
            case "GET", ["2", "zones", _, "exists"]:
                return _success(data=True)
            case "GET", ["2", "zones", zone, "records"]:
                return self._list(zone, request)
            case "POST", ["2", "zones", zone, "records"]:
                return self._create(zone, request.json)
            case "DELETE", ["2", "zones", zone, "records", found]:
                return self._delete(zone, int(found))
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _add(self, zone: str, **row: object) -> dict[str, Any]:
        made = {"id": next(self._numbers), **row}
        self.zones[zone].append(made)
        return made

    def _list(self, zone: str, request: Request) -> Response:
        query = request.query
        if set(query) - _FILTER or not 1 <= int(query["per_page"]) <= 1000:
            raise Complaint(f"no such question: {query}")
        source, kind, page = query["filter[source]"], query["filter[types][]"], int(query["page"])
        # The documentation does not say that the filter is exact, so here it is not.
        rows = [row for row in self.zones[zone] if source in row["source"] and row["type"] == kind]
        shown = rows[(page - 1) * self.page_size : page * self.page_size]
        pages = max(1, ceil(len(rows) / self.page_size))
        return _success(shown, total=len(rows), page=page, pages=pages, items_per_page=self.page_size)

    def _create(self, zone: str, row: dict[str, Any]) -> Response:
        if set(row) != {"type", "source", "target", "ttl"} or row["type"] != "TXT" or not row["source"]:
            raise Complaint(f"not a TXT record: {row}")
        if not _TXT.fullmatch(row["target"]) or not isinstance(row["ttl"], int) or row["ttl"] < 60:
            raise Complaint(f"the value is not quoted, or the TTL is too short: {row}")
        return _success(self._add(zone, **row), status=201)

    def _delete(self, zone: str, number: int) -> Response:
        if all(row["id"] != number for row in self.zones[zone]):
            return _error(404, "object_not_found", "Object not found")
        self.zones[zone] = [row for row in self.zones[zone] if row["id"] != number]
        return _success(data=True)


def _success(data: object, *, status: int = 200, **more: object) -> Response:
    return json_response({"result": "success", "data": data, **more}, status)


def _error(status: int, code: str, description: str) -> Response:
    return json_response({"result": "error", "error": {"code": code, "description": description}}, status)
