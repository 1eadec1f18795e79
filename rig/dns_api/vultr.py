"""Fake Vultr API version 2, after https://www.vultr.com/api/#tag/dns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import uuid4

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response


class FakeVultr(FakeApi):
    """Domains and records of one account. The same TXT record may be created twice."""

    key = "VULTR-KEY-CANARY"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, list[dict[str, object]]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = [{"id": str(uuid4()), "type": "NS", "name": "", "data": "ns1.vultr.com", "ttl": 300}]

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        name = fqdn.removesuffix(zone).rstrip(".")
        self.zones[zone].append({"id": str(uuid4()), "type": "TXT", "name": name, "data": f'"{value}"', "ttl": 300})

    def values(self, fqdn: str) -> list[str]:
        return [
            json.loads(str(row["data"]))
            for zone, rows in self.zones.items()
            for row in rows
            if row["type"] == "TXT" and f"{row['name']}.{zone}".lstrip(".") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Invalid API token.")
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["domains"]:
                domains = [{"domain": zone, "date_created": "2026-01-01", "dns_sec": "disabled"} for zone in self.zones]
                return self._page("domains", domains, request)
            case method, ["domains", zone, "records", *rest]:
                if zone not in self.zones:
                    return _error(404, "Invalid domain")
                return self._records(method, zone, rest, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _records(self, method: str, zone: str, rest: list[str], request: Request) -> Response:
        match method, rest:
            case "GET", []:
                return self._page("records", self.zones[zone], request)
            case "POST", []:
                return self._create(zone, request.json)
            case "DELETE", [found]:
                return self._delete(zone, found)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _page(self, title: str, rows: Sequence[object], request: Request) -> Response:
        query = request.query
        if set(query) - {"per_page", "cursor"} or not 1 <= int(query["per_page"]) <= 500:
            raise Complaint(f"no such question: {query}")
        start = int(bytes.fromhex(query["cursor"])) if "cursor" in query else 0
        end = start + self.page_size
        following = str(end).encode().hex() if end < len(rows) else ""
        meta = {"total": len(rows), "links": {"next": following, "prev": ""}}
        return json_response({title: rows[start:end], "meta": meta})

    def _create(self, zone: str, row: dict[str, object]) -> Response:
        name, data = str(row["name"]), str(row["data"])
        if set(row) != {"type", "name", "data", "ttl"} or row["type"] != "TXT" or not isinstance(row["ttl"], int):
            raise Complaint(f"not a TXT record: {row}")
        if len(data) < 2 or data[0] != '"' or data[-1] != '"' or name.endswith(zone):
            raise Complaint(f"the data is quoted and the name relative: {row}")
        new: dict[str, object] = {"id": str(uuid4()), **row, "priority": -1}
        self.zones[zone].append(new)
        return json_response({"record": new}, 201)

    def _delete(self, zone: str, found: str) -> Response:
        kept = [row for row in self.zones[zone] if row["id"] != found]
        if len(kept) == len(self.zones[zone]):
            return _error(404, "Invalid record ID")
        self.zones[zone] = kept
        return Response(status=204)


def _error(status: int, text: str) -> Response:
    return json_response({"error": text, "status": status}, status)
