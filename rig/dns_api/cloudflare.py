"""Fake Cloudflare API, after https://developers.cloudflare.com/api/resources/dns/subresources/records/ and .../zones/.

The numbers of errors are those seen in the answers of the real one: 81058 for a record that exists, 81044 for one
that does not, 9109 for an unknown token, 6003 for a malformed header.
"""

from __future__ import annotations

import json
from itertools import count

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response


class FakeCloudflare(FakeApi):
    """Zones and records of one account, with a token that may only edit DNS and one that may only read zones."""

    dns_token = "cf-dns-token-canary"
    zone_token = "cf-zone-token-canary"
    key = "cf-global-key-canary"
    email = "who@example.org"

    def __init__(self) -> None:
        super().__init__()
        self.ids = (f"{number:032x}" for number in count(1))
        self.zones: dict[str, str] = {}
        self.rows: dict[str, dict[str, dict[str, object]]] = {}
        self.statuses: dict[str, str] = {}
        self.finds_ascii = True
        """Whether a zone whose name is international is found by its ASCII form, too; it is shown in letters anyway."""

    def add_zone(self, zone: str, status: str = "active") -> None:
        zone_id = next(self.ids)
        self.zones[zone_id] = zone
        self.statuses[zone_id] = status
        self.rows[zone_id] = {}

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        zone_id = next(zone_id for zone_id, name in self.zones.items() if name == zone)
        # The dashboard of old kept values without quotes.
        self._add(zone_id, {"type": "TXT", "name": fqdn, "content": value, "ttl": 1})

    def values(self, fqdn: str) -> list[str]:
        found = (str(row["content"]) for rows in self.rows.values() for row in rows.values() if row["name"] == fqdn)
        return [json.loads(text) if text.startswith('"') else text for text in found]

    def handle(self, request: Request) -> Response:
        rights = self._rights(request)
        if isinstance(rights, Response):
            return rights
        match request.path.strip("/").split("/"):
            case ["zones"] if request.method == "GET":
                return self._find(request) if "zones" in rights else _error(403, 9109, "Unauthorized to access")
            case ["zones", zone_id, "dns_records", *rest]:
                if "dns" not in rights:
                    return _error(403, 10000, "Authentication error")
                if zone_id not in self.zones:
                    return _error(404, 7003, "Could not route to the zone")
                return self._records(zone_id, rest, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _rights(self, request: Request) -> set[str] | Response:
        bearer = request.headers.get("authorization", "")
        pair = (request.headers.get("x-auth-email"), request.headers.get("x-auth-key"))
        if bearer and pair != (None, None):
            raise Complaint("token and key must not be mixed")
        known = {f"Bearer {self.dns_token}": {"dns"}, f"Bearer {self.zone_token}": {"zones"}}
        if bearer in known:
            return known[bearer]
        if pair == (self.email, self.key):
            return {"dns", "zones"}
        if " " in bearer.removeprefix("Bearer "):
            return _error(400, 6003, "Invalid request headers")
        return _error(403, 9109, "Invalid access token") if bearer else _error(400, 9106, "Missing X-Auth-Key")

    def _find(self, request: Request) -> Response:
        if set(request.query) - {"name", "per_page", "page", "status"} or not 5 <= int(request.query["per_page"]) <= 50:
            raise Complaint(f"no such question: {request.query}")
        return _result(
            [
                {"id": zone_id, "name": zone, "status": self.statuses[zone_id]}
                for zone_id, zone in self.zones.items()
                if request.query["name"] in ((zone, _ascii(zone)) if self.finds_ascii else (zone,))
            ]
        )

    def _records(self, zone_id: str, rest: list[str], request: Request) -> Response:
        if request.method == "GET" and not rest:
            return self._list(zone_id, request)
        if request.method == "POST" and not rest:
            return self._create(zone_id, request.json)
        if request.method == "DELETE" and len(rest) == 1:
            if self.rows[zone_id].pop(rest[0], None) is None:
                return _error(404, 81044, "Record does not exist.")
            return _result({"id": rest[0]})
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _list(self, zone_id: str, request: Request) -> Response:
        query = request.query
        if set(query) - {"type", "name.exact", "page", "per_page"}:
            raise Complaint(f"no such question: {query}")
        rows = [
            row
            for row in self.rows[zone_id].values()
            if row["type"] == query["type"] and _ascii(str(row["name"])) == query["name.exact"]
        ]
        page, size = int(query["page"]), min(int(query["per_page"]), self.page_size)
        shown = rows[(page - 1) * size : page * size]
        info = {"page": page, "per_page": size, "count": len(shown), "total_count": len(rows)}
        return _result(shown, result_info=info)

    def _create(self, zone_id: str, row: dict[str, object]) -> Response:
        name, content, ttl = str(row["name"]), str(row["content"]), row["ttl"]
        if set(row) != {"type", "name", "content", "ttl"} or row["type"] != "TXT":
            raise Complaint(f"not a TXT record: {row}")
        if not isinstance(ttl, int) or (ttl != 1 and not 60 <= ttl <= 86400):
            raise Complaint(f"ttl is out of bounds: {ttl}")
        if f".{name}".removesuffix(f".{_ascii(self.zones[zone_id])}") == f".{name}":
            raise Complaint(f"{name} is not a full name of the zone")
        if len(content) < 2 or content[0] != '"' or content[-1] != '"':
            raise Complaint(f"content is not quoted: {content}")
        if any((old["name"], old["content"]) == (name, content) for old in self.rows[zone_id].values()):
            return _error(400, 81058, "An identical record already exists.")
        return _result(self._add(zone_id, row))

    def _add(self, zone_id: str, row: dict[str, object]) -> dict[str, object]:
        new = {"id": next(self.ids), **row, "proxiable": False, "proxied": False}
        self.rows[zone_id][str(new["id"])] = new
        return new


def _ascii(name: str) -> str:
    return name.encode("idna").decode() if not name.isascii() else name


def _result(result: object, **more: object) -> Response:
    return json_response({"result": result, "success": True, "errors": [], "messages": [], **more})


def _error(status: int, code: int, message: str) -> Response:
    errors = [{"code": code, "message": message}]
    return json_response({"result": None, "success": False, "errors": errors, "messages": []}, status)
