"""Fake Google Cloud DNS and Google's token endpoint.

After https://cloud.google.com/dns/docs/reference/rest/v1 (managedZones.list, resourceRecordSets.list, changes.create)
and https://developers.google.com/identity/protocols/oauth2/service-account (the JWT grant).
"""

from __future__ import annotations

import base64
import json
import re
from itertools import count
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r'("(?:[^"\\]|\\.)*"\s*)+')
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE = "https://www.googleapis.com/auth/ndev.clouddns.readwrite"


class FakeGcloud(FakeApi):
    """Managed zones of one project. A record set is {"name", "type", "ttl", "rrdatas"}; only TXT is kept."""

    project = "canary-project"
    token = "ya29.google-token-canary"
    _private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def __init__(self) -> None:
        super().__init__()
        self.zones: dict[str, tuple[str, str]] = {}
        self.sets: dict[str, dict[str, dict[str, Any]]] = {}
        self._numbers = count(1)

    @classmethod
    def account(cls, url: str, private: rsa.RSAPrivateKey | None = None) -> str:
        """The key file of the project's service account, with its token endpoint here."""
        pem = (private or cls._private).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return json.dumps({
            "type": "service_account",
            "project_id": cls.project,
            "private_key_id": "key-1",
            "private_key": pem,
            "client_email": f"dns@{cls.project}.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        })  # fmt: skip

    def add_zone(self, zone: str) -> None:
        self.add(zone, "public")

    def add(self, zone: str, visibility: str) -> str:
        """Add a zone of either kind; gives its name."""
        name = f"zone-{next(self._numbers)}"
        self.zones[name] = f"{zone}.", visibility
        self.sets[name] = {}
        return name

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.seed_written(zone, fqdn, f'"{value}"')

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        name = next(name for name, kept in self.zones.items() if kept == (f"{zone}.", "public"))
        row = {"name": f"{fqdn}.", "type": "TXT", "ttl": 300, "rrdatas": []}
        self.sets[name].setdefault(f"{fqdn}.", row)["rrdatas"].append(written)

    def values(self, fqdn: str) -> list[str]:
        return [json.loads(text) for text in self.written(fqdn)]

    def written(self, fqdn: str) -> list[Any]:
        sets = [sets[f"{fqdn}."] for sets in self.sets.values() if f"{fqdn}." in sets]
        return [text for row in sets for text in row["rrdatas"]]

    def handle(self, request: Request) -> Response:
        if request.path == "/token":
            return self._grant(request)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, "authError", "Request had invalid authentication credentials.")
        match request.method, request.path.strip("/").split("/"):
            case _, ["projects", project, *_] if project != self.project:
                return _error(403, "forbidden", "Forbidden")
            case "GET", ["projects", _, "managedZones"]:
                return self._find(request)
            case _, ["projects", _, "managedZones", zone, found]:
                return self._records(zone, found, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _grant(self, request: Request) -> Response:
        form = request.form
        if request.method != "POST" or form["grant_type"] != _JWT_GRANT:
            raise Complaint(f"no such grant: {form}")
        head, claims, signature = form["assertion"].split(".")
        told = json.loads(_decoded(claims))
        if told["scope"] != _SCOPE or not told["aud"].endswith("/token") or told["exp"] - told["iat"] > 3600:
            raise Complaint(f"claims not as documented: {sorted(told)}")
        signed = f"{head}.{claims}".encode()
        try:
            self._private.public_key().verify(_decoded(signature), signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return json_response({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        return json_response({"access_token": self.token, "expires_in": 3599, "token_type": "Bearer"})

    def _find(self, request: Request) -> Response:
        query = request.query
        if set(query) - {"dnsName", "pageToken", "maxResults"}:
            raise Complaint(f"no such question: {query}")
        fit = [name for name, (dns, _) in self.zones.items() if dns == query["dnsName"]]
        start = int(query.get("pageToken", "p0")[1:])
        zones = [self._zone(name) for name in fit[start : start + self.page_size]]
        more = {"nextPageToken": f"p{start + self.page_size}"} if len(fit) > start + self.page_size else {}
        return json_response({"kind": "dns#managedZonesListResponse", "managedZones": zones, **more})

    def _zone(self, name: str) -> dict[str, str]:
        dns, visibility = self.zones[name]
        return {"kind": "dns#managedZone", "name": name, "dnsName": dns, "visibility": visibility, "id": "1"}

    def _records(self, zone: str, found: str, request: Request) -> Response:
        if zone not in self.zones:
            return _error(404, "notFound", f"The 'parameters.managedZone' resource named '{zone}' does not exist.")
        match request.method, found:
            case "GET", "rrsets":
                return self._list(zone, request)
            case "POST", "changes":
                return self._change(zone, request.json)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _list(self, zone: str, request: Request) -> Response:
        if set(request.query) != {"name", "type"} or request.query["type"] != "TXT":
            raise Complaint(f"no such question: {request.query}")
        found = self.sets[zone].get(request.query["name"])
        return json_response({"kind": "dns#resourceRecordSetsListResponse", "rrsets": [found] if found else []})

    def _change(self, zone: str, change: dict[str, list[dict[str, Any]]]) -> Response:
        if not change or set(change) - {"additions", "deletions"}:
            raise Complaint(f"not a change: {change}")
        sets = dict(self.sets[zone])
        for number, row in enumerate(change.get("deletions", [])):
            if row["name"] not in sets:
                return _error(404, "notFound", f"The 'entity.change.deletions[{number}]' resource does not exist.")
            if sets.pop(row["name"]) != row:
                return _error(412, "conditionNotMet", f"Precondition not met for 'entity.change.deletions[{number}]'")
        for number, row in enumerate(change.get("additions", [])):
            self._check(zone, row)
            if row["name"] in sets:
                return _error(409, "alreadyExists", f"The resource 'entity.change.additions[{number}]' already exists")
            sets[row["name"]] = row
        self.sets[zone] = sets
        return json_response({"kind": "dns#change", "id": "7", "status": "pending"})

    def _check(self, zone: str, row: dict[str, Any]) -> None:
        texts = row["rrdatas"]
        if set(row) != {"name", "type", "ttl", "rrdatas"} or row["type"] != "TXT" or not isinstance(row["ttl"], int):
            raise Complaint(f"not a TXT record set: {row}")
        if not texts or len(set(texts)) < len(texts) or not all(_TXT.fullmatch(text) for text in texts):
            raise Complaint(f"values are missing, doubled or not quoted: {texts}")
        if not f".{row['name']}".endswith(f".{self.zones[zone][0]}"):
            raise Complaint(f"{row['name']} is not in {zone}")


def quota() -> Response:
    """What Google says to too many calls: not status 429."""
    return _error(403, "rateLimitExceeded", "Rate Limit Exceeded")


def _error(status: int, reason: str, message: str) -> Response:
    errors = [{"domain": "global", "reason": reason, "message": message}]
    return json_response({"error": {"code": status, "message": message, "errors": errors}}, status)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
