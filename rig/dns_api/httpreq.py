"""A server as https://go-acme.github.io/lego/dns/httpreq/ wants it, the user's own part of it being a dictionary."""

from __future__ import annotations

from base64 import b64encode

from rig.dns_api.server import Complaint, FakeApi, Request, Response

_PLAIN = {"fqdn", "value"}
_RAW = {"domain", "token", "keyAuth"}


class FakeHttpReq(FakeApi):
    """TXT values by name; `raw` holds what came in raw mode. Served below `path`."""

    user = "somebody"
    password = "httpreq-password-canary"
    path = "/dns"

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.raw: list[dict[str, str]] = []

    def add_zone(self, zone: str) -> None:
        """It takes any name."""

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.texts.setdefault(fqdn, []).append(value)

    def values(self, fqdn: str) -> list[str]:
        return list(self.texts.get(fqdn, []))

    def handle(self, request: Request) -> Response:
        action = request.path.removeprefix(f"{self.path}/")
        if request.method != "POST" or action not in {"present", "cleanup"}:
            raise Complaint(f"no such call: {request.method} {request.path}")
        known = b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {known}":
            return Response(status=401, body=b"who are you?")
        if set(request.json) == _RAW:
            self.raw.append({"action": action, **request.json})
            return Response()
        if set(request.json) != _PLAIN or not request.json["fqdn"].endswith("."):
            raise Complaint(f"other members than documented: {request.json}")
        return self._change(action, request.json["fqdn"][:-1], request.json["value"])

    def _change(self, action: str, fqdn: str, value: str) -> Response:
        others = [each for each in self.values(fqdn) if each != value]
        self.texts[fqdn] = [*others, value] if action == "present" else others
        return Response()
