"""Namecheap (https://www.namecheap.com/support/api/methods/).

The API replaces all records of a domain at once (`setHosts`): what is not sent again is deleted. So every record
found, and the domain's kind of e-mail, go back exactly as they came.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from xml.etree import ElementTree as ET

from knit.core.model.challenge import Record
from knit.errors import KnitError, Unreachable
from knit.ports.solving import Paced, ReplacesWhole, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, anonymous
from knit.providers.http.api import Api, paged
from knit.providers.http.exchange import Body, Reply
from knit.providers.rewrite import rewrite
from knit.providers.zones import Zones, listed, relative

_URL = "https://api.namecheap.com/xml.response"
_SANDBOX_URL = "https://api.sandbox.namecheap.com/xml.response"
_ADDRESS_URL = "https://dynamicdns.park-your-domain.com/getip"
_USER = Variable(names=("NAMECHEAP_API_USER",), help="user name of the account")
_KEY = Variable(names=("NAMECHEAP_API_KEY",), help="API key", secret=True)
_SANDBOX = Variable(names=("NAMECHEAP_SANDBOX",), help="talk to Namecheap's sandbox: true or false")
_PROXIES = {
    "http": Variable(names=("NAMECHEAP_HTTP_PROXY",), help="proxy for http://; else HTTP_PROXY", secret=True),
    "https": Variable(names=("NAMECHEAP_HTTPS_PROXY",), help="proxy for https://; else HTTPS_PROXY", secret=True),
    "no_proxy": Variable(names=("NAMECHEAP_NO_PROXY",), help="hosts to be reached without a proxy; else NO_PROXY"),
}
_KNOBS = knobs("NAMECHEAP", timeout=3600, interval=15, ttl=120, http=60)
_RIGHTS = "API access switched on in the account, and the public IPv4 address of this machine on its list there"
_SHORTEST_TTL, _LONGEST_TTL = 60, 60000
_ADDRESS_KEPT = timedelta(minutes=10)
_TOO_MANY = "500000"
_CREDENTIAL = ("101", "1030408", "1050900")
_PASSING = ("3", "4", "5")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """One record, its texts as Namecheap gives them."""

    name: str
    type: str
    address: str
    preference: str
    ttl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Domain:
    """Everything that `setHosts` replaces."""

    email: str
    hosts: tuple[_Host, ...]


class Namecheap(Paced, ReplacesWhole):
    """One account. The service at `address_url` says which public address we have: every call has to name it."""

    def __init__(
        self,
        user: str,
        key: str,
        timing: Timing,
        runtime: Runtime,
        *,
        url: str = _URL,
        address_url: str = _ADDRESS_URL,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(timing)
        account = Account(provider="namecheap", rights=_RIGHTS, sign=anonymous, secrets=(key,))
        self._api = Api(url, account, runtime, timeout=timing.http, proxies=proxies)
        self._mirror = Api(address_url, account, runtime, timeout=timing.http, proxies=proxies)
        self._runtime = runtime
        self._who = {"ApiUser": user, "ApiKey": key, "UserName": user}
        self._address = ("", runtime.clock())
        self._zones = Zones("namecheap", listed(self._domains, runtime.clock), runtime.clock)

    def replaces(self, record: Record) -> str:
        """A write replaces the whole domain."""
        return self._zones.of(record)[0]

    def present(self, record: Record) -> None:
        """Write the domain with the value in it."""
        ttl = min(max(self.ttl, _SHORTEST_TTL), _LONGEST_TTL)
        self._change(record, add=({"preference": "10", "ttl": str(ttl)},))

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Write the domain without the value."""
        self._change(record, add=())

    def _change(self, record: Record, *, add: tuple[dict[str, str], ...]) -> None:
        zone, domain = self._zones.of(record)
        ours = {"name": relative(record.fqdn, zone) or "@", "type": "TXT", "address": record.value}

        def change(found: _Domain) -> _Domain:
            others = tuple(host for host in found.hosts if not _is(host, ours))
            if bool(add) == (len(others) < len(found.hosts)):
                return found
            return replace(found, hosts=others + tuple(_Host(**ours, **more) for more in add))

        rewrite(
            f"namecheap: {domain}",
            self._runtime.sleep,
            lambda: self._read(domain),
            change,
            lambda wanted: self._write(domain, wanted),
        )

    def _domains(self) -> Mapping[str, str]:
        def fetch(page: int) -> tuple[list[str], int | None]:
            answer = self._call("namecheap.domains.getList", {"Page": str(page), "PageSize": "100"})
            names.extend(found := [domain.get("Name", "") for domain in _all(answer, "domain")])
            total = next((element.text for element in _all(answer, "totalitems")), None)
            return found, page + 1 if found and str(len(names)) != total else None

        names: list[str] = []
        return {name.lower(): name for name in paged(fetch, 1)}

    def _read(self, domain: str) -> _Domain:
        answer = self._call("namecheap.domains.dns.getHosts", _split(domain))
        result = next(_all(answer, "domaindnsgethostsresult"), None)
        if result is None or result.get("Domain", "").lower() != domain.lower():
            raise Unreachable(f"namecheap: the API's answer is not about {domain}")
        if result.get("IsUsingOurDNS") != "true":
            raise self._api.refused(f"{domain} uses name servers of somebody else")
        return _Domain(email=result.get("EmailType", ""), hosts=tuple(map(_host, _all(result, "host"))))

    def _write(self, domain: str, wanted: _Domain) -> None:
        params = _split(domain) | ({"EmailType": wanted.email} if wanted.email else {})
        for number, host in enumerate(wanted.hosts, start=1):
            params |= {
                f"HostName{number}": host.name,
                f"RecordType{number}": host.type,
                f"Address{number}": host.address,
                f"MXPref{number}": host.preference,
                f"TTL{number}": host.ttl,
            }
        answer = self._call("namecheap.domains.dns.setHosts", params)
        if not any(result.get("IsSuccess") == "true" for result in _all(answer, "domaindnssethostsresult")):
            raise self._api.refused(f"the records of {domain} were not changed, without a reason given")

    def _call(self, command: str, params: Mapping[str, str]) -> ET.Element:
        form = {**self._who, "ClientIp": self._public_address(), "Command": command, **params}
        reply = self._api.call("POST", "", Body(form=form, again=True))
        answer = _parsed(reply)
        if answer.get("Status") != "OK":
            raise self._error(answer)
        return answer

    def _error(self, answer: ET.Element) -> KnitError:
        error = next(_all(answer, "error"), None)
        if error is None:
            return Unreachable("namecheap: the API answered with neither a result nor an error")
        number, said = error.get("Number", ""), f"{error.text} (error {error.get('Number')})"
        if number == _TOO_MANY:
            return self._api.limited(said)
        if number.startswith(_CREDENTIAL):
            return self._api.rejected(said)
        refused = self._api.refused(said)
        return Unreachable(str(refused)) if number.startswith(_PASSING) else refused

    def _public_address(self) -> str:
        address, until = self._address
        if not address or until <= self._runtime.clock():
            address = self._mirror.get("").text.strip()
            if not _is_ipv4(address):
                raise Unreachable("namecheap: the service that tells our public address did not")
            self._address = (address, self._runtime.clock() + _ADDRESS_KEPT)
        return address


def _split(domain: str) -> dict[str, str]:
    """Namecheap wants a domain in two parts, at its first dot: `example` and `co.uk`."""
    name, _, suffix = domain.partition(".")
    return {"SLD": name, "TLD": suffix}


def _is(host: _Host, ours: Mapping[str, str]) -> bool:
    named = (host.name.lower(), host.type, host.address)
    return named == (ours["name"], ours["type"], ours["address"])


def _host(element: ET.Element) -> _Host:
    try:
        return _Host(
            name=element.attrib["Name"],
            type=element.attrib["Type"],
            address=element.attrib["Address"],
            preference=element.attrib["MXPref"],
            ttl=element.attrib["TTL"],
        )
    except KeyError as e:
        raise Unreachable(f"namecheap: the API's answer is not as documented (a record without {e})") from None


def _all(element: ET.Element, tag: str) -> Iterator[ET.Element]:
    """Elements by their name in lower case: the documentation writes `Host` where the API says `host`."""
    return (found for found in element.iter() if found.tag.rpartition("}")[2].lower() == tag)


def _parsed(reply: Reply) -> ET.Element:
    try:
        return ET.fromstring(reply.body)  # noqa: S314 - expat itself bounds entities, the client bounds the size
    except (ET.ParseError, ValueError, LookupError):
        raise Unreachable("namecheap: the API's answer is not XML") from None


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _build(values: Values, runtime: Runtime) -> Solver:
    url = _SANDBOX_URL if values.flag(_SANDBOX) else _URL
    proxies = {kind: value for kind, variable in _PROXIES.items() if (value := values.get(variable))}
    return Namecheap(values.text(_USER), values.text(_KEY), _KNOBS.timing(values), runtime, url=url, proxies=proxies)


PROVIDER = Provider(
    code="namecheap",
    title="Namecheap",
    url="https://www.namecheap.com/support/api/methods/",
    required=((_USER, _KEY),),
    variables=(_SANDBOX, *_PROXIES.values()),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="Every write replaces all records of the domain, so nobody else should change it at the same moment.",
)
