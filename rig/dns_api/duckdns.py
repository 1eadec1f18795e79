"""Fake Duck DNS, after https://www.duckdns.org/spec.jsp, with names below example.org in place of duckdns.org."""

from __future__ import annotations

from rig.dns_api.server import Complaint, FakeApi, Request, Response


class FakeDuckDns(FakeApi):
    """One account with the names `www` and `b`: one TXT value each, shown at all names below."""

    token = "a7c4d0ad-duckdns-canary"
    apex = "example.org"

    def __init__(self) -> None:
        super().__init__()
        self.texts = {"www": "", "b": ""}

    def add_zone(self, zone: str) -> None:
        """Duck DNS has its one zone."""

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.texts[self._name(fqdn)] = value

    def values(self, fqdn: str) -> list[str]:
        value = self.texts.get(self._name(fqdn), "")
        return [value] if value else []

    def is_write(self, request: Request) -> bool:
        return request.path == "/update"

    def handle(self, request: Request) -> Response:
        query = dict(request.query)
        if (request.method, request.path) != ("GET", "/update") or not {"domains", "token", "txt"} <= set(query):
            raise Complaint(f"no such call: {request.method} {request.path} {sorted(query)}")
        if set(query) - {"domains", "token", "txt", "clear"} or "." in query["domains"] or not query["txt"]:
            raise Complaint(f"unknown parameters, or a name with its zone: {sorted(query)}")
        if query["token"] != self.token or query["domains"] not in self.texts:
            return Response(body=b"KO")
        self.texts[query["domains"]] = "" if query.get("clear") == "true" else query["txt"]
        return Response(body=b"OK")

    def _name(self, fqdn: str) -> str:
        return fqdn.removesuffix(f".{self.apex}").rpartition(".")[2]
