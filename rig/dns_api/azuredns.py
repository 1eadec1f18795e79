"""Fake Azure DNS, public and private, and the search for zones.

After https://learn.microsoft.com/en-us/rest/api/dns/record-sets, .../privatedns/record-sets and
https://learn.microsoft.com/en-us/rest/api/azureresourcegraph/resourcegraph/resources/resources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_QUERY = re.compile(
    r'resources \| where type =~ "microsoft\.network/(\w+)"'
    r'(?: \| where subscriptionId =~ "([^"]+)")?(?: \| where resourceGroup =~ "([^"]+)")?'
    r"((?: \| where tags\.\w+ == '\w+')?) \| project id, name, subscriptionId, resourceGroup"
)
_VERSIONS = {"dnsZones": "2018-05-01", "privateDnsZones": "2018-09-01"}
_MEMBERS = {"dnsZones": ("TTL", "TXTRecords"), "privateDnsZones": ("ttl", "txtRecords")}

Key = tuple[str, str, str]
"""Resource group, kind and name of a zone."""


@dataclass(kw_only=True)
class Texts:
    """One TXT record set."""

    ttl: int
    values: list[list[str]]
    etag: str
    metadata: dict[str, str] = field(default_factory=dict)


class FakeAzureDns(FakeApi):
    """Zones of one subscription."""

    token = "azure-token-canary"
    subscription = "11111111-2222-3333-4444-555555555555"
    group = "dns-group"

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[Key, dict[str, Texts]] = {}
        self._numbers = count(1)

    def is_write(self, request: Request) -> bool:
        """A search is a POST."""
        return request.method in {"PUT", "PATCH", "DELETE"}

    def add_zone(self, zone: str) -> None:
        self.zones[self.group, "dnsZones", zone] = {}

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.seed_written(zone, fqdn, [value])

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        name = fqdn.removesuffix(zone).rstrip(".") or "@"
        sets = self.zones[self.group, "dnsZones", zone]
        old = sets.get(name, Texts(ttl=300, values=[], etag="", metadata={"owner": "somebody"}))
        sets[name] = Texts(ttl=300, values=[*old.values, written], etag=self._etag(), metadata=old.metadata)

    def values(self, fqdn: str) -> list[str]:
        return ["".join(value) for value in self.written(fqdn)]

    def written(self, fqdn: str) -> list[Any]:
        return [
            value
            for (_, _, zone), sets in self.zones.items()
            for name, texts in sets.items()
            for value in texts.values
            if (zone if name == "@" else f"{name}.{zone}") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, "InvalidAuthenticationToken", "The access token is invalid.")
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["providers", "Microsoft.ResourceGraph", "resources"]:
                return self._search(request)
            case method, ["subscriptions", self.subscription, "resourceGroups", group, "providers", *place]:
                return self._resource(method, group, place, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _resource(self, method: str, group: str, place: list[str], request: Request) -> Response:
        network, kind, zone, *rest = place
        if network != "Microsoft.Network" or request.query != {"api-version": _VERSIONS[kind]}:
            raise Complaint(f"no such version of {network} {kind}: {request.query}")
        if (group, kind, zone) not in self.zones:
            return _error(404, "ResourceNotFound", f"The Resource '{zone}' was not found.")
        return self._in_zone(method, (group, kind, zone), rest, request)

    def _etag(self) -> str:
        return f"00000000-0000-0000-0000-{next(self._numbers):012}"

    def _search(self, request: Request) -> Response:
        if request.query != {"api-version": "2021-03-01"} or set(request.json) != {"query", "options"}:
            raise Complaint(f"no such search: {request.query} {request.json}")
        asked = _QUERY.fullmatch(request.json["query"])
        options = request.json["options"]
        if asked is None or options["resultFormat"] != "objectArray" or options["$top"] != 1000:
            raise Complaint(f"no such search: {request.json}")
        start = int(options.get("$skipToken", "0"))
        rows = [
            {"id": zone, "name": zone, "subscriptionId": self.subscription, "resourceGroup": group}
            for group, kind, zone in self.zones
            if kind.lower() == asked[1].lower() and asked[2] in {None, self.subscription} and asked[3] in {None, group}
        ]
        shown = [] if asked[4] else rows[start : start + self.page_size]
        told = {"totalRecords": len(rows), "count": len(shown), "data": shown, "facets": [], "resultTruncated": "false"}
        more = {"$skipToken": str(start + self.page_size)} if shown and start + self.page_size < len(rows) else {}
        return json_response(told | more)

    def _in_zone(self, method: str, key: Key, rest: list[str], request: Request) -> Response:
        sets = self.zones[key]
        match method, rest:
            case "GET", []:
                return json_response({"name": key[2], "type": f"Microsoft.Network/{key[1]}", "location": "global"})
            case "GET", ["TXT", name]:
                return self._show(key, name)
            case "PUT" | "PATCH" | "DELETE", ["TXT", name]:
                if not self._is_bound(sets.get(name), request):
                    return _error(412, "PreconditionFailed", "The condition is not met.")
                if method == "DELETE":
                    return Response(status=200 if sets.pop(name, None) else 204)
                return self._write(key, name, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    @staticmethod
    def _is_bound(texts: Texts | None, request: Request) -> bool:
        """Azure takes writes without a condition, too; here they are not as wanted."""
        wanted, none = request.headers.get("if-match"), request.headers.get("if-none-match")
        if (wanted is None) == (none is None):
            raise Complaint("a write that is not bound to what was read")
        return texts is None if none == "*" else texts is not None and texts.etag == wanted

    def _show(self, key: Key, name: str, status: int = 200) -> Response:
        texts = self.zones[key].get(name)
        if texts is None:
            return _error(404, "NotFound", f"The resource record '{name}' does not exist in resource group '{key[0]}'.")
        ttl, title = _MEMBERS[key[1]]
        records = [{"value": value} for value in texts.values]
        told = {"metadata": texts.metadata, "fqdn": f"{name}.{key[2]}.", ttl: texts.ttl, title: records}
        return json_response({"name": name, "etag": texts.etag, "properties": told}, status)

    def _write(self, key: Key, name: str, request: Request) -> Response:
        ttl, title = _MEMBERS[key[1]]
        told: dict[str, Any] = request.json["properties"]
        values = [row["value"] for row in told[title]]
        if set(request.json) != {"properties"} or set(told) != {ttl, title} or told[ttl] < 1:
            raise Complaint(f"not a TXT record set: {request.json}")
        if not values or any(values.count(value) > 1 or not isinstance(value, list) for value in values):
            raise Complaint(f"values are missing, doubled or no lists: {values}")
        old = self.zones[key].get(name)
        if request.method == "PATCH" and old is None:
            return _error(404, "NotFound", "The resource record does not exist.")
        metadata = old.metadata if old is not None and request.method == "PATCH" else {}
        self.zones[key][name] = Texts(ttl=told[ttl], values=values, etag=self._etag(), metadata=metadata)
        return self._show(key, name, 200 if old else 201)


def _error(status: int, code: str, message: str) -> Response:
    return json_response({"error": {"code": code, "message": message}}, status)
