"""Fake DigitalOcean API, after https://docs.digitalocean.com/reference/api/reference/domain-records/."""

from __future__ import annotations

from itertools import count

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response


class FakeDigitalOcean(FakeApi):
    """Domains and records of one account. The same TXT record may be created twice, as at the real one."""

    token = "dop_v1_canary"

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(3352892)
        self.zones: dict[str, list[dict[str, object]]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = [{"id": next(self.ids), "type": "NS", "name": "@", "data": "ns1.example.net", "ttl": 1800}]

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        name = fqdn.removesuffix(zone).rstrip(".") or "@"
        self.zones[zone].append({"id": next(self.ids), "type": "TXT", "name": name, "data": value, "ttl": 1800})

    def values(self, fqdn: str) -> list[str]:
        return [
            str(row["data"])
            for zone, rows in self.zones.items()
            for row in rows
            if row["type"] == "TXT" and _full(row, zone) == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return json_response({"id": "Unauthorized", "message": "Unable to authenticate you"}, 401)
        match request.path.split("/"):
            case ["", "v2", "domains", zone, *rest]:
                if zone not in self.zones:
                    return _not_found()
                return self._domain(zone, rest, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _domain(self, zone: str, rest: list[str], request: Request) -> Response:
        match request.method, rest:
            case "GET", []:
                return json_response({"domain": {"name": zone, "ttl": 1800, "zone_file": "…"}})
            case "GET", ["records"]:
                return self._list(zone, request)
            case "POST", ["records"]:
                return self._create(zone, request.json)
            case "DELETE", ["records", found]:
                return self._delete(zone, int(found))
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _list(self, zone: str, request: Request) -> Response:
        query = request.query
        if set(query) - {"name", "type", "page", "per_page"} or not 1 <= int(query["per_page"]) <= 200:
            raise Complaint(f"no such question: {query}")
        rows = [row for row in self.zones[zone] if row["type"] == query["type"] and _full(row, zone) == query["name"]]
        page, size = int(query.get("page", 1)), min(int(query["per_page"]), self.page_size)
        more = {"next": f"https://api.example/v2/domains/{zone}/records?page={page + 1}"}
        links = {"pages": more} if page * size < len(rows) else {}
        shown = rows[(page - 1) * size : page * size]
        return json_response({"domain_records": shown, "links": links, "meta": {"total": len(rows)}})

    def _create(self, zone: str, row: dict[str, object]) -> Response:
        if set(row) != {"type", "name", "data", "ttl"} or row["type"] != "TXT" or not row["name"]:
            raise Complaint(f"not a TXT record: {row}")
        if not isinstance(row["ttl"], int) or row["ttl"] < 30:
            raise Complaint(f"ttl is below 30: {row['ttl']}")
        if str(row["name"]).endswith(zone) or '"' in str(row["data"]):
            raise Complaint(f"the name is relative and the data is not quoted: {row}")
        new = {"id": next(self.ids), **row}
        self.zones[zone].append(new)
        return json_response({"domain_record": new}, 201)

    def _delete(self, zone: str, found: int) -> Response:
        kept = [row for row in self.zones[zone] if row["id"] != found]
        if len(kept) == len(self.zones[zone]):
            return _not_found()
        self.zones[zone] = kept
        return Response(status=204)


def _full(row: dict[str, object], zone: str) -> str:
    return zone if row["name"] == "@" else f"{row['name']}.{zone}"


def _not_found() -> Response:
    return json_response({"id": "not_found", "message": "The resource you requested could not be found."}, 404)
