"""Fake Amazon Route 53 and the one call of STS it needs.

After https://docs.aws.amazon.com/Route53/latest/APIReference/ (ListHostedZonesByName, ListResourceRecordSets,
ChangeResourceRecordSets, GetChange) and https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from itertools import count
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from rig.dns_api.server import Complaint, FakeApi, Request, Response

_NAMESPACE = "https://route53.amazonaws.com/doc/2013-04-01/"
_XMLNS = f'xmlns="{_NAMESPACE}"'
_TXT = re.compile(r'("(?:[^"\\]|\\.)*"\s*)+')
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})")

Sets = dict[str, tuple[int, list[str]]]


class FakeRoute53(FakeApi):
    """Hosted zones of one account. Sets are keyed by name with its final dot; only TXT is kept."""

    key, secret = "AKIACANARYEXAMPLE", "aws-secret-canary"
    role_key, role_secret, role_token = "ASIAROLEEXAMPLE", "role-secret-canary", "role-token-canary"
    role = "arn:aws:iam::123456789012:role/dns"
    external = "external-canary"

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, tuple[str, bool]] = {}
        self.zones: dict[str, Sets] = {}
        self.several: dict[str, Sets] = {}
        """Multivalue answers by name with its final dot, then by set identifier; a name has these or one simple set."""
        self.allowed: set[str | None] = {"CREATE", "DELETE", "UPSERT"}
        self.pending = 0
        self._numbers = count(100)

    def add_zone(self, zone: str) -> None:
        self.add(zone, private=False)

    def add(self, zone: str, *, private: bool) -> str:
        """Add a zone of either kind; gives its id."""
        found = f"Z{next(self._numbers)}"
        self.ids[found] = zone, private
        self.zones[found] = {}
        return found

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.seed_written(zone, fqdn, f'"{value}"')

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        found = next(found for found, (name, private) in self.ids.items() if name == zone and not private)
        ttl, values = self.zones[found].get(f"{fqdn}.", (300, []))
        self.zones[found][f"{fqdn}."] = ttl, [*values, str(written)]

    def values(self, fqdn: str) -> list[str]:
        return [json.loads(text) for text in self.written(fqdn)]

    def written(self, fqdn: str) -> list[Any]:
        sets = [sets[f"{fqdn}."][1] for sets in self.zones.values() if f"{fqdn}." in sets]
        sets += [values for _, values in self.several.get(f"{fqdn}.", {}).values()]
        return [text for values in sets for text in values]

    def handle(self, request: Request) -> Response:
        service = "sts" if request.path == "/" else "route53"
        refused = self._unsigned(request, service)
        if refused is not None:
            return refused
        match request.method, request.path.strip("/").split("/"):
            case "POST", [""]:
                return self._assume(request.form)
            case "GET", ["2013-04-01", "hostedzonesbyname"]:
                return self._by_name(request)
            case "GET", ["2013-04-01", "change", found] if re.fullmatch(r"C\d+", found):
                self.pending = max(0, self.pending - 1)
                return _answer("GetChangeResponse", self._change_info(found))
            case method, ["2013-04-01", "hostedzone", found, "rrset"]:
                if found not in self.zones:
                    return _error(404, "NoSuchHostedZone", f"No hosted zone found with ID: {found}")
                return self._list(found, request) if method == "GET" else self._change(found, request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _unsigned(self, request: Request, service: str) -> Response | None:
        """None when the signature is right (Signature Version 4, worked out here a second time)."""
        told = _SIGNED.fullmatch(request.headers.get("authorization", ""))
        if told is None:
            return _error(403, "MissingAuthenticationToken", "Missing Authentication Token")
        key, *scope = told[1].split("/")
        secrets = {self.key: self.secret, self.role_key: self.role_secret}
        if key not in secrets or (key == self.role_key) != (
            request.headers.get("x-amz-security-token") == self.role_token
        ):
            return _error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        names = told[2].split(";")
        if not {"host", "x-amz-date"} <= set(names) or scope[1:] != ["us-east-1", service, "aws4_request"]:
            raise Complaint(f"signed for {scope} over {names}")
        if key == self.role_key and "x-amz-security-token" not in names:
            raise Complaint("the session token is not signed")
        if _signature(request, secrets[key], scope, names) != told[3]:
            return _error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
        return None

    def _assume(self, form: dict[str, str]) -> Response:
        fixed = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleSessionName": "knit", "DurationSeconds": "3600"}
        if form != fixed | {"RoleArn": self.role, "ExternalId": self.external}:
            return _error(403, "AccessDenied", "User is not authorized to perform: sts:AssumeRole")
        keys = (
            ("AccessKeyId", self.role_key),
            ("SecretAccessKey", self.role_secret),
            ("SessionToken", self.role_token),
            ("Expiration", "2026-03-01T13:00:00Z"),
        )
        inner = "".join(f"<{name}>{text}</{name}>" for name, text in keys)
        told = f"<AssumeRoleResult><Credentials>{inner}</Credentials></AssumeRoleResult>"
        return _xml(
            f'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{told}</AssumeRoleResponse>'
        )

    def _by_name(self, request: Request) -> Response:
        query = request.query
        if set(query) - {"dnsname", "hostedzoneid", "maxitems"}:
            raise Complaint(f"no such question: {query}")
        start = _sort_key(query["dnsname"].rstrip(".")), query.get("hostedzoneid", "")
        ordered = sorted((_sort_key(name), found) for found, (name, _) in self.ids.items())
        rest = [found for found in ordered if found >= start]
        shown, following = rest[: self.page_size], rest[self.page_size :]
        zones = "".join(self._zone(found) for _, found in shown)
        told = f"<HostedZones>{zones}</HostedZones><IsTruncated>{str(bool(following)).lower()}</IsTruncated>"
        if following:
            found = following[0][1]
            told += f"<NextDNSName>{self.ids[found][0]}.</NextDNSName><NextHostedZoneId>{found}</NextHostedZoneId>"
        return _answer("ListHostedZonesByNameResponse", f"{told}<MaxItems>{self.page_size}</MaxItems>")

    def _zone(self, found: str) -> str:
        name, private = self.ids[found]
        config = f"<Config><PrivateZone>{str(private).lower()}</PrivateZone></Config>"
        return f"<HostedZone><Id>/hostedzone/{found}</Id><Name>{name}.</Name>{config}</HostedZone>"

    def _list(self, found: str, request: Request) -> Response:
        """Sets from the one asked for on, in order; those of other names may come first."""
        query = request.query
        if set(query) != {"name", "type", "maxitems"} or query["type"] != "TXT":
            raise Complaint(f"no such question: {query}")
        names = sorted(self.zones[found], key=_sort_key)
        rest = [name for name in names if _sort_key(name) >= _sort_key(query["name"])][: int(query["maxitems"])]
        sets = "".join(_set(name, *self.zones[found][name]) for name in rest)
        name = query["name"]
        sets = "".join(_set(name, *one, label) for label, one in sorted(self.several.get(name, {}).items())) + sets
        return _answer(
            "ListResourceRecordSetsResponse",
            f"<ResourceRecordSets>{sets}</ResourceRecordSets><IsTruncated>false</IsTruncated>",
        )

    def _change(self, found: str, request: Request) -> Response:
        batch = ET.fromstring(request.body)  # noqa: S314 - it comes from our own solver
        if batch.tag != f"{{{_NAMESPACE}}}ChangeResourceRecordSetsRequest":
            raise Complaint(f"not a change batch: {batch.tag}")
        sets, several = dict(self.zones[found]), {name: dict(beside) for name, beside in self.several.items()}
        actions = [action.text for action in batch.iter(f"{{{_NAMESPACE}}}Action")]
        if not self.allowed.issuperset(actions):
            said = "User is not authorized to perform: route53:ChangeResourceRecordSets because of a condition"
            return _error(403, "AccessDenied", said)
        for change in batch.iterfind("{*}ChangeBatch/{*}Changes/{*}Change"):
            problem = self._apply(sets, several, change, self.ids[found][0])
            if problem:
                return _error(400, "InvalidChangeBatch", f"[{problem}]")
        self.zones[found], self.several = sets, {name: beside for name, beside in several.items() if beside}
        return _answer("ChangeResourceRecordSetsResponse", self._change_info(f"C{next(self._numbers)}"))

    @staticmethod
    def _apply(  # noqa: C901, PLR0911 -- one branch for each of its words
        sets: Sets, several: dict[str, Sets], change: ET.Element, zone: str
    ) -> str:
        action, name = change.findtext("{*}Action"), change.findtext("{*}ResourceRecordSet/{*}Name") or ""
        ttl = int(change.findtext("{*}ResourceRecordSet/{*}TTL") or "")
        values = [value.text or "" for value in change.iter(f"{{{_NAMESPACE}}}Value")]
        kind = change.findtext("{*}ResourceRecordSet/{*}Type")
        if kind != "TXT" or not values or len(set(values)) < len(values) or not all(map(_TXT.fullmatch, values)):
            raise Complaint(f"not a TXT record set: {kind} {values}")
        if name != f"{zone}." and not name.endswith(f".{zone}."):
            return f"RRSet with DNS name {name} is not permitted in zone {zone}."
        shown = f"resource record set [name='{name}', type='TXT']"
        label = change.findtext("{*}ResourceRecordSet/{*}SetIdentifier")
        if label is not None:
            return _beside(several.setdefault(name, {}), change, label, (ttl, values), is_simple=name in sets)
        if several.get(name) and action != "DELETE":
            return f"RRSet with DNS name {name}, type TXT cannot be created as other RRSets exist with the same name"
        match action:
            case "CREATE" if name in sets:
                return f"Tried to create {shown} but it already exists"
            case "CREATE":
                sets[name] = ttl, values
            case "UPSERT":
                sets[name] = ttl, values
            case "DELETE" if name not in sets:
                return f"Tried to delete {shown} but it was not found"
            case "DELETE" if sets[name] != (ttl, values):
                return f"Tried to delete {shown} but the values provided do not match the current values"
            case "DELETE":
                del sets[name]
            case _:
                raise Complaint(f"no such action: {action}")
        return ""

    def _change_info(self, found: str) -> str:
        status = "PENDING" if self.pending else "INSYNC"
        submitted = "<SubmittedAt>2026-03-01T12:00:00Z</SubmittedAt>"
        return f"<ChangeInfo><Id>/change/{found}</Id><Status>{status}</Status>{submitted}</ChangeInfo>"


def _beside(beside: Sets, change: ET.Element, label: str, one: tuple[int, list[str]], *, is_simple: bool) -> str:
    """A change of one multivalue answer: why it is refused, if it is."""
    action = change.findtext("{*}Action")
    if change.findtext("{*}ResourceRecordSet/{*}MultiValueAnswer") != "true" or len(one[1]) != 1:
        raise Complaint(f"not a multivalue answer: {label}")
    if is_simple:
        return f"RRSet with SetIdentifier {label} cannot be created because a non multivalue answer rrset exists"
    if action == "DELETE" and beside.get(label) != one:
        return "Tried to delete a set but the values provided do not match the current values"
    beside.pop(label, None)
    if action != "DELETE":
        beside[label] = one
    return ""


def throttled(code: str = "Throttling") -> Response:
    """What Route 53 says to the sixth call within a second."""
    return _error(400, code, "Rate exceeded")


def _sort_key(name: str) -> list[str]:
    return name.rstrip(".").split(".")[::-1]


def _set(name: str, ttl: int, values: list[str], label: str = "") -> str:
    records = "".join(f"<ResourceRecord><Value>{escape(value)}</Value></ResourceRecord>" for value in values)
    kind = f"<SetIdentifier>{label}</SetIdentifier><MultiValueAnswer>true</MultiValueAnswer>" if label else ""
    told = f"<Name>{name}</Name><Type>TXT</Type>{kind}<TTL>{ttl}</TTL><ResourceRecords>{records}</ResourceRecords>"
    return f"<ResourceRecordSet>{told}</ResourceRecordSet>"


def _signature(request: Request, secret: str, scope: list[str], names: list[str]) -> str:
    def step(key: bytes, text: str) -> bytes:
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    pairs = sorted((quote(key, safe="-_.~"), quote(value, safe="-_.~")) for key, value in request.query.items())
    canonical = "\n".join([
        request.method,
        quote(request.path, safe="/-_.~"),
        "&".join(f"{key}={value}" for key, value in pairs),
        *(f"{name}:{request.headers[name].strip()}" for name in names),
        "",
        ";".join(names),
        hashlib.sha256(request.body).hexdigest(),
    ])  # fmt: skip
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    told = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], "/".join(scope), hashed])
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = step(key, part)
    return step(key, told).hex()


def _answer(name: str, told: str) -> Response:
    return _xml(f"<{name} {_XMLNS}>{told}</{name}>")


def _error(status: int, code: str, message: str) -> Response:
    told = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message>"
    return _xml(f"<ErrorResponse {_XMLNS}><Error>{told}</Error><RequestId>1</RequestId></ErrorResponse>", status)


def _xml(text: str, status: int = 200) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return Response(status=status, body=body, headers={"Content-Type": "text/xml"})
