"""Fake Linode API, after https://techdocs.akamai.com/linode-api/reference/get-domain-records and its neighbours."""

from __future__ import annotations

import json
from itertools import count

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

Row = dict[str, object]


class FakeLinode(FakeApi):
    """Domains and records of one account. The same TXT record may be created twice."""

    token = "linode-token-canary"

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(1000)
        self.domains: dict[int, str] = {}
        self.rows: dict[int, list[Row]] = {}

    def add_zone(self, zone: str) -> None:
        domain_id = next(self.ids)
        self.domains[domain_id] = zone
        self.rows[domain_id] = []

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        domain_id = next(domain_id for domain_id, name in self.domains.items() if name == zone)
        name = fqdn.removesuffix(zone).rstrip(".")
        self.rows[domain_id].append({"id": next(self.ids), "type": "TXT", "name": name, "target": value, "ttl_sec": 0})

    def values(self, fqdn: str) -> list[str]:
        return [
            str(row["target"])
            for domain_id, rows in self.rows.items()
            for row in rows
            if f"{row['name']}.{self.domains[domain_id]}".lstrip(".") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, "Invalid Token")
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["domains"]:
                rows: list[Row] = [{"id": i, "domain": name, "type": "master"} for i, name in self.domains.items()]
                return self._page(rows, request, {"domain", "group", "tags"})
            case method, ["domains", domain_id, "records", *rest]:
                if int(domain_id) not in self.domains:
                    return _error(404, "Not found")
                return self._records(method, int(domain_id), rest, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _records(self, method: str, domain_id: int, rest: list[str], request: Request) -> Response:
        match method, rest:
            case "GET", []:
                return self._page(self.rows[domain_id], request, {"type", "name", "target"})
            case "POST", []:
                return self._create(domain_id, request.json)
            case "DELETE", [found]:
                return self._delete(domain_id, int(found))
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _page(self, rows: list[Row], request: Request, filterable: set[str]) -> Response:
        wanted = json.loads(request.headers["x-filter"])
        if set(wanted) - filterable or set(request.query) - {"page", "page_size"}:
            raise Complaint(f"no such question: {wanted} {request.query}")
        if not 25 <= int(request.query["page_size"]) <= 500:
            raise Complaint("page_size is out of bounds")
        found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
        page = int(request.query["page"])
        pages = max(1, -(-len(found) // self.page_size))
        if page > pages:
            return _error(404, "Not found")
        shown = found[(page - 1) * self.page_size : page * self.page_size]
        return json_response({"data": shown, "page": page, "pages": pages, "results": len(found)})

    def _create(self, domain_id: int, row: Row) -> Response:
        if set(row) != {"type", "name", "target", "ttl_sec"} or row["type"] != "TXT":
            raise Complaint(f"not a TXT record: {row}")
        if not isinstance(row["ttl_sec"], int) or '"' in str(row["target"]) or len(str(row["name"])) > 100:
            raise Complaint(f"not a TXT record: {row}")
        if str(row["name"]).endswith(self.domains[domain_id]):
            raise Complaint(f"the name is not relative: {row['name']}")
        new = {"id": next(self.ids), **row, "priority": 0, "port": 0, "weight": 0, "tag": None}
        self.rows[domain_id].append(new)
        return json_response(new)

    def _delete(self, domain_id: int, found: int) -> Response:
        kept = [row for row in self.rows[domain_id] if row["id"] != found]
        if len(kept) == len(self.rows[domain_id]):
            return _error(404, "Not found")
        self.rows[domain_id] = kept
        return json_response({})


def _error(status: int, reason: str) -> Response:
    return json_response({"errors": [{"reason": reason}]}, status)
