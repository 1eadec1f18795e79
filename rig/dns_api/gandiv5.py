"""Fake Gandi LiveDNS API, after https://api.gandi.net/docs/livedns/."""

from __future__ import annotations

import json
import re
from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r'("(?:[^"\\]|\\.)*"\s*)+')


class FakeGandi(FakeApi):
    """Domains and TXT record sets of one account."""

    token = "pat_gandi_canary"
    key = "gandi-key-canary"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, dict[str, list[str]]] = {}
        self.ttls: dict[tuple[str, str], int] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = {}

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.seed_written(zone, fqdn, f'"{value}"')

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        self.zones[zone].setdefault(fqdn.removesuffix(zone).rstrip(".") or "@", []).append(str(written))

    def values(self, fqdn: str) -> list[str]:
        return [json.loads(text) for text in self.written(fqdn)]

    def written(self, fqdn: str) -> list[Any]:
        return [
            text
            for zone, sets in self.zones.items()
            for name, texts in sets.items()
            for text in texts
            if (zone if name == "@" else f"{name}.{zone}") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") not in {f"Bearer {self.token}", f"Apikey {self.key}"}:
            return _error(401, "The server could not verify that you authorized to access the document you requested.")
        match request.path.strip("/").split("/"):
            case ["domains", zone, *_] if zone not in self.zones:
                return _error(404, "The resource could not be found.")
            case ["domains", zone] if request.method == "GET":
                return json_response({"fqdn": zone, "automatic_snapshots": True})
            case ["domains", zone, "records", name, "TXT"]:
                return self._texts(request, zone, name)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _texts(self, request: Request, zone: str, name: str) -> Response:
        if request.method == "PUT":
            return self._put(zone, name, request.json)
        if name not in self.zones[zone]:
            return _error(404, "Can't find the DNS record")
        if request.method == "DELETE":
            del self.zones[zone][name]
            return Response(status=204)
        if request.method == "GET":
            ttl = self.ttls.get((zone, name), 10800)
            shown = {"rrset_name": name, "rrset_type": "TXT", "rrset_ttl": ttl, "rrset_values": self.zones[zone][name]}
            return json_response(shown)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _put(self, zone: str, name: str, wanted: dict[str, object]) -> Response:
        ttl, texts = wanted["rrset_ttl"], wanted["rrset_values"]
        if set(wanted) != {"rrset_ttl", "rrset_values"} or not isinstance(ttl, int) or not 300 <= ttl <= 2592000:
            raise Complaint(f"not a record set, or its TTL is out of bounds: {wanted}")
        if not isinstance(texts, list) or not texts or len(set(texts)) < len(texts):
            raise Complaint(f"no values, or doubled ones: {texts}")
        if not all(_TXT.fullmatch(text) for text in texts):
            raise Complaint(f"values are not quoted: {texts}")
        self.zones[zone][name] = texts
        self.ttls[zone, name] = ttl
        return json_response({"message": "DNS Record Created"}, 201)


def _error(status: int, message: str) -> Response:
    return json_response({"cause": "error", "code": status, "message": message, "object": "HTTP"}, status)
