"""Fake Porkbun API, after https://porkbun.com/llms/porkbun-dns and https://porkbun.com/api/json/v3/documentation."""

from __future__ import annotations

from itertools import count

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

Row = dict[str, str]


class FakePorkbun(FakeApi):
    """Domains and records of one account. Everything is a POST; the same record is not made twice."""

    key = "pk1_porkbun_canary"
    secret = "sk1_porkbun_canary"

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(106926652)
        self.zones: dict[str, list[Row]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = []

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.zones[zone].append(self._row(fqdn, value, "600"))

    def values(self, fqdn: str) -> list[str]:
        return [row["content"] for rows in self.zones.values() for row in rows if row["name"] == fqdn]

    def is_write(self, request: Request) -> bool:
        return request.path.startswith(("/dns/create/", "/dns/delete/"))

    def handle(self, request: Request) -> Response:
        if request.method != "POST":
            raise Complaint("these calls are POST")
        if request.headers.get("x-api-key") != self.key or request.headers.get("x-secret-api-key") != self.secret:
            return _error("Invalid API key. (002)")
        match request.path.strip("/").split("/"):
            case ["domain", "listAll"]:
                return self._list(int(request.json["start"]))
            case ["dns", verb, zone, *rest]:
                return self._dns(verb, zone, rest, request) if zone in self.zones else _error("Invalid domain.")
        raise Complaint(f"no such call: {request.path}")

    def _dns(self, verb: str, zone: str, rest: list[str], request: Request) -> Response:
        match verb, rest:
            case "retrieveByNameType", ["TXT", *name]:
                fqdn = ".".join([*name, zone])
                return _success(records=[row for row in self.zones[zone] if row["name"] == fqdn])
            case "create", []:
                return self._create(zone, request.json)
            case "delete", [found]:
                return self._delete(zone, found)
        raise Complaint(f"no such call: {request.path}")

    def _list(self, start: int) -> Response:
        shown = sorted(self.zones)[start : start + self.page_size]
        return _success(domains=[{"domain": zone, "status": "ACTIVE", "tld": "org"} for zone in shown])

    def _create(self, zone: str, wanted: Row) -> Response:
        if set(wanted) != {"name", "type", "content", "ttl"} or wanted["type"] != "TXT" or '"' in wanted["content"]:
            raise Complaint(f"not a TXT record: {wanted}")
        if int(wanted["ttl"]) < 600 or wanted["name"].endswith(zone):
            raise Complaint(f"the TTL is too small or the name is not relative: {wanted}")
        row = self._row(f"{wanted['name']}.{zone}".lstrip("."), wanted["content"], wanted["ttl"])
        if row["content"] in self.values(row["name"]):
            return _error("Create error: We were unable to create the DNS record.")
        self.zones[zone].append(row)
        return _success(id=int(row["id"]))

    def _delete(self, zone: str, found: str) -> Response:
        kept = [row for row in self.zones[zone] if row["id"] != found]
        if len(kept) == len(self.zones[zone]):
            return _error("Delete error: We were unable to delete the DNS record.")
        self.zones[zone] = kept
        return _success()

    def _row(self, fqdn: str, value: str, ttl: str) -> Row:
        return {"id": str(next(self.ids)), "name": fqdn, "type": "TXT", "content": value, "ttl": ttl, "prio": "0"}


def _success(**members: object) -> Response:
    return json_response({"status": "SUCCESS", **members})


def _error(message: str) -> Response:
    return json_response({"status": "ERROR", "message": message}, 400)
