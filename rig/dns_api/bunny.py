"""Fake bunny.net API, after https://docs.bunny.net/api-reference/core/dns-zone/list-dns-zones and its neighbours."""

from __future__ import annotations

from itertools import count

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response


class FakeBunny(FakeApi):
    """Zones and records of one account. The same TXT record may be created twice."""

    key = "bunny-key-canary"

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(12345)
        self.zones: dict[int, str] = {}
        self.rows: dict[int, list[dict[str, object]]] = {}

    def add_zone(self, zone: str) -> None:
        zone_id = next(self.ids)
        self.zones[zone_id] = zone
        self.rows[zone_id] = []

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        zone_id = next(zone_id for zone_id, name in self.zones.items() if name == zone)
        self._add(zone_id, {"Type": "TXT", "Name": fqdn.removesuffix(zone).rstrip("."), "Value": value, "Ttl": 300})

    def values(self, fqdn: str) -> list[str]:
        return [
            str(row["Value"])
            for zone_id, rows in self.rows.items()
            for row in rows
            if f"{row['Name']}.{self.zones[zone_id]}".lstrip(".") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("accesskey") != self.key:
            return json_response({"Message": "Authorization has been denied for this request."}, 401)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["dnszone"]:
                return self._find(request)
            case method, ["dnszone", zone_id, *rest]:
                if int(zone_id) not in self.zones:
                    return _not_found()
                return self._zone(method, int(zone_id), rest, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _find(self, request: Request) -> Response:
        query = request.query
        if set(query) - {"search", "page", "perPage"} or not 5 <= int(query["perPage"]) <= 1000:
            raise Complaint(f"no such question: {query}")
        found = [self._shown(zone_id) for zone_id, zone in self.zones.items() if query["search"] in zone]
        page = int(query["page"])
        end = page * self.page_size
        items = found[end - self.page_size : end]
        more = end < len(found)
        return json_response({"CurrentPage": page, "TotalItems": len(found), "HasMoreItems": more, "Items": items})

    def _zone(self, method: str, zone_id: int, rest: list[str], request: Request) -> Response:
        match method, rest:
            case "GET", []:
                return json_response(self._shown(zone_id))
            case "PUT", ["records"]:
                return self._create(zone_id, request.json)
            case "DELETE", ["records", found]:
                return self._delete(zone_id, int(found))
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _shown(self, zone_id: int) -> dict[str, object]:
        return {"Id": zone_id, "Domain": self.zones[zone_id], "Records": self.rows[zone_id], "DnsSecEnabled": False}

    def _create(self, zone_id: int, row: dict[str, object]) -> Response:
        if set(row) != {"Type", "Name", "Value", "Ttl"} or row["Type"] not in {3, "TXT"}:
            raise Complaint(f"not a TXT record: {row}")
        if (
            not isinstance(row["Ttl"], int)
            or str(row["Name"]).endswith(self.zones[zone_id])
            or '"' in str(row["Value"])
        ):
            raise Complaint(f"not a TXT record: {row}")
        return json_response(self._add(zone_id, row), 201)

    def _add(self, zone_id: int, row: dict[str, object]) -> dict[str, object]:
        new = {"Id": next(self.ids), **row, "Weight": 0, "Disabled": False, "Comment": None}
        self.rows[zone_id].append(new)
        return new

    def _delete(self, zone_id: int, found: int) -> Response:
        kept = [row for row in self.rows[zone_id] if row["Id"] != found]
        if len(kept) == len(self.rows[zone_id]):
            return _not_found()
        self.rows[zone_id] = kept
        return Response(status=204)


def _not_found() -> Response:
    return json_response({"ErrorKey": "dnszone.not_found", "Field": "", "Message": "Not found"}, 404)
