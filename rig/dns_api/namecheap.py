"""Fake Namecheap API, after https://www.namecheap.com/support/api/methods/, and the service that tells an address."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from rig.dns_api.server import Complaint, FakeApi, Request, Response

Host = dict[str, str]
_GLOBAL = {"ApiUser", "ApiKey", "UserName", "ClientIp", "Command"}
_FIELDS = {"HostName": "Name", "RecordType": "Type", "Address": "Address", "MXPref": "MXPref", "TTL": "TTL"}


@dataclass(kw_only=True)
class Domain:
    email: str = "FWD"
    ours: bool = True
    hosts: list[Host] = field(default_factory=list)


class FakeNamecheap(FakeApi):
    """Domains of one account. What a write does not name is gone."""

    user = "alice"
    key = "namecheap-key-canary"
    address = "192.0.2.7"

    def __init__(self) -> None:
        super().__init__()
        self.domains: dict[str, Domain] = {}

    def add_zone(self, zone: str) -> None:
        self.domains[zone] = Domain()

    def seed(self, zone: str, fqdn: str, value: str) -> None:
        name = fqdn.removesuffix(zone).rstrip(".") or "@"
        self.domains[zone].hosts.append({"Name": name, "Type": "TXT", "Address": value, "MXPref": "10", "TTL": "1799"})

    def values(self, fqdn: str) -> list[str]:
        return [
            host["Address"]
            for zone, domain in self.domains.items()
            for host in domain.hosts
            if host["Type"] == "TXT" and (zone if host["Name"] == "@" else f"{host['Name']}.{zone}") == fqdn
        ]

    def is_write(self, request: Request) -> bool:
        return b"dns.setHosts" in request.body

    def handle(self, request: Request) -> Response:
        match request.method, request.path:
            case "GET", "/getip":
                return Response(body=self.address.encode())
            case "POST", "/xml.response":
                return self._command(dict(request.form))
        raise Complaint(f"no such call: {request.method} {request.path}")

    def _command(self, form: dict[str, str]) -> Response:
        if not set(form) >= _GLOBAL:
            raise Complaint(f"global parameters are missing: {_GLOBAL - set(form)}")
        if (form["ApiUser"], form["UserName"], form["ApiKey"]) != (self.user, self.user, self.key):
            return error("1011102", "API Key is invalid or API access has not been enabled")
        if form["ClientIp"] != self.address:
            return error("1011150", "Invalid request IP: 192.0.2.99")
        command = form["Command"]
        rest = {name: value for name, value in form.items() if name not in _GLOBAL}
        if command == "namecheap.domains.getList":
            return self._list(rest)
        zone = f"{rest.pop('SLD')}.{rest.pop('TLD')}"
        if zone not in self.domains:
            return error("2019166", "Domain name not found")
        if command == "namecheap.domains.dns.getHosts" and not rest:
            return self._get(zone)
        if command == "namecheap.domains.dns.setHosts":
            return self._set(zone, rest)
        raise Complaint(f"no such command: {command}")

    def _list(self, params: Host) -> Response:
        if not 10 <= int(params["PageSize"]) <= 100 or set(params) != {"Page", "PageSize"}:
            raise Complaint(f"no such question: {params}")
        start = (int(params["Page"]) - 1) * self.page_size
        shown = sorted(self.domains)[start : start + self.page_size]
        listed = "".join(f'<Domain ID="1" Name="{zone}" IsExpired="false" IsOurDNS="true"/>' for zone in shown)
        paging = f"<TotalItems>{len(self.domains)}</TotalItems><CurrentPage>{params['Page']}</CurrentPage>"
        return _ok(f"<DomainGetListResult>{listed}</DomainGetListResult><Paging>{paging}</Paging>")

    def _get(self, zone: str) -> Response:
        domain = self.domains[zone]
        hosts = "".join(f"<host HostId='1' {_attributes(host)} IsActive='true'/>" for host in domain.hosts)
        own = f'Domain="{zone}" EmailType="{domain.email}" IsUsingOurDNS="{str(domain.ours).lower()}"'
        return _ok(f"<DomainDNSGetHostsResult {own}>{hosts}</DomainDNSGetHostsResult>")

    def _set(self, zone: str, params: Host) -> Response:
        domain = self.domains[zone]
        domain.email = params.pop("EmailType", "NONE")
        count, rest = divmod(len(params), len(_FIELDS))
        if rest:
            raise Complaint(f"not five parameters for each record: {sorted(params)}")
        numbers = range(1, count + 1)
        hosts = [{ours: params[f"{theirs}{n}"] for theirs, ours in _FIELDS.items()} for n in numbers]
        if any(not 60 <= int(host["TTL"]) <= 60000 or host["Name"].endswith(zone) for host in hosts):
            raise Complaint(f"a TTL is out of bounds or a name is not relative: {hosts}")
        # Records of e-mail are kept only when the domain's kind of e-mail says so.
        domain.hosts = [host for host in hosts if host["Type"] != "MX" or domain.email == "MX"]
        return _ok(f'<DomainDNSSetHostsResult Domain="{zone}" IsSuccess="true"/>')


def _attributes(host: Host) -> str:
    return " ".join(f"{name}={quoteattr(value)}" for name, value in host.items())


def _answer(status: str, body: str) -> Response:
    start = f'<?xml version="1.0" encoding="utf-8"?><ApiResponse Status="{status}"'
    text = f'{start} xmlns="http://api.namecheap.com/xml.response">{body}</ApiResponse>'
    return Response(body=text.encode(), headers={"Content-Type": "text/xml; charset=utf-8"})


def _ok(result: str) -> Response:
    return _answer("OK", f"<Errors/><CommandResponse>{result}</CommandResponse>")


def error(number: str, said: str) -> Response:
    return _answer("ERROR", f'<Errors><Error Number="{number}">{said}</Error></Errors><CommandResponse/>')
