"""Fake acme-dns, after https://github.com/joohoi/acme-dns#api, and a server of accounts as lego's docs describe it."""

from __future__ import annotations

import ipaddress
import re
from itertools import count

from rig.dns_api.server import Complaint, FakeApi, Request, Response, json_response

_TXT = re.compile(r"[A-Za-z0-9_-]{43}")
_HELD = 2


class FakeAcmeDns(FakeApi):
    """Accounts, each with a name below auth.example.net and room for two values."""

    password = "acmedns-password-canary"

    def __init__(self) -> None:
        super().__init__()
        self.accounts: dict[str, dict[str, object]] = {}
        self.texts: dict[str, list[str]] = {}
        self._numbers = count(1)

    def add_zone(self, zone: str) -> None:
        """It has no zones but its own."""

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        self._push(fqdn, value)

    def values(self, fqdn: str) -> list[str]:
        """As the DNS shows them: each once."""
        return list(dict.fromkeys(self.texts.get(fqdn, [])))

    def account(self, fqdn: str = "") -> dict[str, object]:
        """A new account, at any name."""
        subdomain = f"8e5700ea-a4bf-41c7-8a77-e990661dcc{next(self._numbers):02}"
        made: dict[str, object] = {
            "username": f"user-of-{subdomain}",
            "password": self.password,
            "fulldomain": fqdn or f"{subdomain}.auth.example.net",
            "subdomain": subdomain,
            "allowfrom": [],
        }
        self.accounts[subdomain] = made
        return made

    def handle(self, request: Request) -> Response:
        match request.method, request.path:
            case "POST", "/register":
                return self._register(request)
            case "POST", "/update":
                return self._update(request)
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _register(self, request: Request) -> Response:
        networks = request.json["allowfrom"] if request.body else []
        for network in networks:
            ipaddress.ip_network(network)
        made = self.account()
        made["allowfrom"] = networks
        return json_response(made, 201)

    def _update(self, request: Request) -> Response:
        if set(request.json) != {"subdomain", "txt"}:
            raise Complaint(f"an update has other members than {sorted(request.json)}")
        account = self.accounts.get(request.json["subdomain"], {})
        who = (request.headers.get("x-api-user"), request.headers.get("x-api-key"))
        if who != (account.get("username"), account.get("password")):
            return json_response({"error": "forbidden"}, 401)
        if not _TXT.fullmatch(request.json["txt"]):
            raise Complaint("bad_txt: a challenge's value has 43 characters")
        self._push(str(account["fulldomain"]), request.json["txt"])
        return json_response({"txt": request.json["txt"]})

    def _push(self, fqdn: str, value: str) -> None:
        self.texts[fqdn] = [*self.texts.get(fqdn, []), value][-_HELD:]


class FakeAccountServer(FakeApi):
    """Keeps accounts by domain. With `makes_cname` it answers as one that makes the CNAME record, too."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, dict[str, str]] = {}
        self.makes_cname = False

    def add_zone(self, zone: str) -> None:
        """It has none."""

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        """It has no records."""

    def values(self, fqdn: str) -> list[str]:
        return []

    def handle(self, request: Request) -> Response:
        domain = request.path.removeprefix("/accounts/")
        if "/" in domain or request.method not in {"GET", "POST"}:
            raise Complaint(f"no such call: {request.method} {request.path}")
        if request.method == "GET":
            return json_response(self.kept[domain]) if domain in self.kept else Response(status=404)
        if set(request.json) != {"fulldomain", "subdomain", "username", "password", "server_url"}:
            raise Complaint(f"an account has other members than {sorted(request.json)}")
        self.kept[domain] = request.json
        return Response(status=201 if self.makes_cname else 200)
