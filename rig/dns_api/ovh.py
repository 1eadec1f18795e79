"""Fake OVHcloud API, after https://help.ovhcloud.com/csm/en-api-getting-started-ovhcloud-api and the API console.

Signature: https://github.com/ovh/docs (first steps with the API). OAuth2: .../csm/en-manage-service-account.
"""

from __future__ import annotations

import hashlib
import json
from itertools import count
from typing import Any
from urllib.parse import quote, urlencode

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

Row = dict[str, Any]


class FakeOvh(FakeApi):
    """Zones and TXT records of one account. Its clock is far from ours; the same record may be made twice.

    Records are kept apart from what the name servers show, until the zone is refreshed. `readable` is False for a
    key that may only POST and DELETE.
    """

    application = "ovh-application"
    secret = "ovh-secret-canary"
    consumer = "ovh-consumer-canary"
    client = "EU.client"
    client_secret = "ovh-client-secret-canary"
    token = "ovh-token-canary"
    now = 1_700_000_000

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(5_000_000_000)
        self.readable = True
        self.zones: dict[str, list[Row]] = {}
        self.shown: dict[str, list[Row]] = {}

    def add_zone(self, zone: str) -> None:
        self.zones[zone] = []
        self.shown[zone] = []

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        row = self._row(zone, {"subDomain": fqdn.removesuffix(zone).rstrip("."), "target": value, "ttl": 0})
        self.zones[zone].append(row)
        self.shown[zone].append(row)

    def values(self, fqdn: str) -> list[str]:
        return [
            json.loads(row["target"])
            for zone, rows in self.shown.items()
            for row in rows
            if f"{row['subDomain']}.{zone}".lstrip(".") == fqdn
        ]

    def handle(self, request: Request) -> Response:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["1.0", "auth", "time"]:
                return json_response(self.now)
            case "POST", ["auth", "oauth2", "token"]:
                return self._grant(request.form)
            case method, ["1.0", "domain", "zone", zone, *rest]:
                return self._authentic(request) or self._zone(method, zone, rest, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _grant(self, form: dict[str, str]) -> Response:
        if form["grant_type"] != "client_credentials" or form["scope"] != "all":
            raise Complaint(f"not a request for a token: {sorted(form)}")
        if (form["client_id"], form["client_secret"]) != (self.client, self.client_secret):
            return json_response({"error": "invalid_client", "error_description": "Client not found"}, 400)
        return json_response({"access_token": self.token, "token_type": "Bearer", "expires_in": 3599, "scope": "all"})

    def _authentic(self, request: Request) -> Response | None:
        headers = request.headers
        if headers.get("authorization") == f"Bearer {self.token}":
            return None
        if "x-ovh-signature" not in headers:
            return _error(401, "Client::Unauthorized", "You must login first")
        if headers["x-ovh-application"] != self.application:
            return _error(403, "Client::Forbidden", "This application key is invalid")
        if abs(int(headers["x-ovh-timestamp"]) - self.now) > 30:
            return _error(400, "Client::BadRequest", "Query out of time")
        url = self.url + quote(request.path) + (f"?{urlencode(request.query)}" if request.query else "")
        parts = (self.secret, self.consumer, request.method, url, request.body.decode(), headers["x-ovh-timestamp"])
        wanted = hashlib.sha1("+".join(parts).encode(), usedforsecurity=False).hexdigest()
        if headers["x-ovh-consumer"] == self.consumer and headers["x-ovh-signature"] == f"$1${wanted}":
            return None
        return _error(403, "Client::Forbidden", "This credential is not valid")

    def _zone(self, method: str, zone: str, rest: list[str], request: Request) -> Response:
        if method == "GET" and not self.readable:
            return _error(403, "Client::Forbidden", "This call has not been granted")
        if zone not in self.zones:
            return _error(404, "Client::NotFound", "This service does not exist")
        match method, rest:
            case "GET", ["record"]:
                return self._find(zone, request)
            case "POST", ["record"]:
                return self._create(zone, request.json)
            case "POST", ["refresh"]:
                self.shown[zone] = list(self.zones[zone])
                return json_response(None)
            case verb, ["record", found]:
                return self._one(verb, zone, int(found))
        raise Complaint(f"no such call: {method} {request.path}")

    def _find(self, zone: str, request: Request) -> Response:
        if set(request.query) - {"fieldType", "subDomain"}:
            raise Complaint(f"no such question: {request.query}")
        name = request.query.get("subDomain", "")
        return json_response([row["id"] for row in self.zones[zone] if not name or row["subDomain"] == name])

    def _create(self, zone: str, wanted: Row) -> Response:
        if set(wanted) != {"fieldType", "subDomain", "target", "ttl"} or wanted["fieldType"] != "TXT":
            raise Complaint(f"not a TXT record: {wanted}")
        if not isinstance(wanted["ttl"], int) or wanted["subDomain"].endswith(zone) or '"' in wanted["target"]:
            raise Complaint(f"a TTL that is no number, a name that is not relative, or a quoted text: {wanted}")
        row = self._row(zone, wanted)
        self.zones[zone].append(row)
        return json_response(row)

    def _one(self, method: str, zone: str, found: int) -> Response:
        row = next((row for row in self.zones[zone] if row["id"] == found), None)
        if row is None:
            return _error(404, "Client::NotFound", "The requested object (id) does not exist")
        if method == "GET":
            return json_response(row)
        if method == "DELETE":
            self.zones[zone].remove(row)
            return json_response(None)
        raise Complaint(f"no such call: {method} on a record")

    def _row(self, zone: str, wanted: Row) -> Row:
        target = json.dumps(wanted["target"])
        return {**wanted, "id": next(self.ids), "zone": zone, "fieldType": "TXT", "target": target}


def _error(status: int, kind: str, message: str) -> Response:
    return json_response({"class": kind, "message": message}, status)
