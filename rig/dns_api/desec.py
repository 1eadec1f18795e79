"""Fake deSEC API, after https://desec.readthedocs.io/en/latest/dns/rrsets.html and .../dns/domains.html."""

from __future__ import annotations

import json
import re
from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r'("(?:[^"\\]|\\.)*"\s*)+')
_MEMBERS = {"subname", "type", "ttl", "records"}


class FakeDesec(FakeApi):
    """Domains and TXT record sets of one account."""

    token = "desec-token-canary"
    minimum_ttl = 3600

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, dict[str, list[str]]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = {}

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.seed_written(zone, fqdn, f'"{value}"')

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        self.zones[zone].setdefault(fqdn.removesuffix(zone).rstrip("."), []).append(str(written))

    def values(self, fqdn: str) -> list[str]:
        return [json.loads(text) for text in self.written(fqdn)]

    def written(self, fqdn: str) -> list[Any]:
        return [
            text
            for zone, sets in self.zones.items()
            for subname, records in sets.items()
            for text in records
            if f"{subname}.{zone}".lstrip(".") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Token {self.token}":
            return json_response({"detail": "Invalid token."}, 401)
        match request.path.strip("/").split("/"):
            case ["domains", zone] if request.method == "GET":
                return self._domain(zone)
            case ["domains", zone, "rrsets", subname, "TXT"] if request.method == "GET":
                return self._one(zone, "" if subname == "@" else subname)
            case ["domains", zone, "rrsets"] if request.method == "PUT":
                return self._bulk(zone, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _domain(self, zone: str) -> Response:
        if zone not in self.zones:
            return json_response({"detail": "Not found."}, 404)
        return json_response({"name": zone, "minimum_ttl": self.minimum_ttl, "touched": "2026-01-01T00:00:00Z"})

    def _one(self, zone: str, subname: str) -> Response:
        records = self.zones.get(zone, {}).get(subname)
        if not records:
            return json_response({"detail": "Not found."}, 404)
        name = f"{subname}.{zone}.".lstrip(".")
        return json_response(
            {"domain": zone, "subname": subname, "name": name, "type": "TXT", "ttl": 3600, "records": records}
        )

    def _bulk(self, zone: str, request: Request) -> Response:
        if zone not in self.zones:
            return json_response({"detail": "Not found."}, 404)
        for rrset in request.json:
            self._check(rrset)
            if rrset["records"]:
                self.zones[zone][rrset["subname"]] = list(rrset["records"])
            else:
                self.zones[zone].pop(rrset["subname"], None)
        return json_response(request.json)

    def _check(self, rrset: dict[str, object]) -> None:
        records = rrset["records"]
        if set(rrset) != _MEMBERS or rrset["type"] != "TXT" or not isinstance(records, list):
            raise Complaint(f"not a TXT record set: {rrset}")
        if not isinstance(rrset["ttl"], int) or rrset["ttl"] < self.minimum_ttl:
            raise Complaint("ttl is below the domain's minimum_ttl")
        if len(set(records)) != len(records) or not all(_TXT.fullmatch(text) for text in records):
            raise Complaint(f"records are doubled or not quoted: {records}")
