"""Fake dyn.dns.he.net, after https://dns.he.net/docs.html (dynamic TXT records); its answers are DynDNS's words."""

from __future__ import annotations

from rig.dns_api.server import Complaint, FakeApi, Request, Response


class FakeHurricane(FakeApi):
    """Dynamic TXT records at these names, each with a key of its own; a dot stands for no value."""

    names = (
        "_acme-challenge.www.example.org",
        "_acme-challenge.a.b.example.org",
        "_acme-challenge.example.net",
    )

    def __init__(self) -> None:
        super().__init__()
        self.texts = dict.fromkeys(self.names, ".")

    @classmethod
    def tokens(cls) -> dict[str, str]:
        """The key of each record."""
        return {name: f"hurricane-canary-{number}" for number, name in enumerate(cls.names)}

    def add_zone(self, zone: str) -> None:
        """Records are made by hand."""

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self.texts[fqdn] = value

    def values(self, fqdn: str) -> list[str]:
        return [value for name, value in self.texts.items() if name == fqdn and value != "."]

    def handle(self, request: Request) -> Response:
        if request.method != "POST" or request.path not in {"/nic/update", "/nic/update/"}:
            raise Complaint(f"no such call: {request.method} {request.path}")
        if not request.headers.get("user-agent"):
            return Response(body=b"badagent")
        form = request.form
        if set(form) != {"hostname", "password", "txt"}:
            raise Complaint(f"a TXT update has other fields than {sorted(form)}")
        name = form["hostname"]
        if "." not in name or name.endswith("."):
            return Response(body=b"notfqdn")
        if name not in self.texts or form["password"] != self.tokens()[name]:
            return Response(body=b"badauth")
        unchanged = self.texts[name] == form["txt"]
        self.texts[name] = form["txt"]
        return Response(body=f'{"nochg" if unchanged else "good"} "{form["txt"]}"'.encode())
