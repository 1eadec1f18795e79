"""Which file serves which provider code, and the solvers built so far in this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module

from knit.core.near import near
from knit.errors import Misconfigured
from knit.ports.solving import Solver
from knit.providers.base import Provider, Runtime, Values
from knit.providers.lego.table import table

MODULES: dict[str, str] = {
    "azuredns": "azuredns",
    "acmedns": "acmedns",
    "bunny": "bunny",
    "cloudflare": "cloudflare",
    "desec": "desec",
    "digitalocean": "digitalocean",
    "dnsupdate": "dnsupdate",
    "duckdns": "duckdns",
    "exec": "exec",
    "gandiv5": "gandiv5",
    "gcloud": "gcloud",
    "godaddy": "godaddy",
    "hetzner": "hetzner",
    "httpreq": "httpreq",
    "hurricane": "hurricane",
    "infomaniak": "infomaniak",
    "inwx": "inwx",
    "ionos": "ionos",
    "linode": "linode",
    "namecheap": "namecheap",
    "netcup": "netcup",
    "ovh": "ovh",
    "pdns": "pdns",
    "porkbun": "porkbun",
    "route53": "route53",
    "scaleway": "scaleway",
    "vultr": "vultr",
}
"""lego's code -> module in this package. Modules are imported when first asked for; lego serves all other codes."""

ALIASES: dict[str, str] = {
    "acme-dns": "acmedns",
    "azure": "azuredns",
    "domainnameshop": "domeneshop",
    "fastdns": "edgedns",
    "linodev4": "linode",
    "rfc2136": "dnsupdate",
    "webnames": "webnamesru",
}
"""Codes of lego v4 and other spellings -> today's code."""

DROPPED: dict[str, str] = {
    "brandit": "Brandit has become part of Abion, whose API is another: use abion",
    "cloudxns": "CloudXNS has closed",
    "dnspod": "lego has dropped it for Tencent Cloud's API: use tencentcloud, which reads TENCENTCLOUD_SECRET_ID and "
    "TENCENTCLOUD_SECRET_KEY",
    "googledomains": "Google Domains has closed, and Squarespace, which took over, has no such API: delegate "
    "_acme-challenge by CNAME to a zone elsewhere",
    "iij": "lego has dropped it for a newer API: use iijdpf, which has variables of its own",
    "iwantmyname": "lego has dropped it: delegate _acme-challenge by CNAME to a zone elsewhere",
    "manual": "it asks a person to set the record, and knit works unattended: use exec with a program of yours",
    "stackpath": "StackPath has closed",
}
"""Codes that are not served -> why, and what to use."""


NO_PROVIDER = "none"
"""The code of certificates whose issuer asks for no proofs."""


def split(provider: str) -> tuple[str, str]:
    """`desec@west` -> (`desec`, `west`), aliases resolved.

    Raises Misconfigured: with near matches for unknown codes, with the reason for codes that are not served.
    """
    name, _, account = provider.partition("@")
    code = ALIASES.get(name, name)
    if provider == NO_PROVIDER:
        return NO_PROVIDER, ""
    if code in DROPPED:
        raise Misconfigured(f"DNS provider {name} is not served: {DROPPED[code]}")
    if code not in MODULES and code not in table():
        meant = near(name.lower(), {*MODULES, *table(), *ALIASES} - {*DROPPED})
        hint = f"; did you mean {' or '.join(meant)}?" if meant else "; `knit providers` lists all codes"
        raise Misconfigured(f"unknown DNS provider {name!r}{hint}")
    return code, account


def provider(code: str) -> Provider:
    """What the provider says of itself; `code` may be an alias. A solver of our own goes before lego's."""
    code = split(code)[0]
    if code == NO_PROVIDER:
        raise Misconfigured("there is none, and this issuer asks for proofs of names: name one with --provider")
    if code not in MODULES:
        from knit.providers.lego.provider import described

        return described(table()[code])
    found = import_module(f"knit.providers.{MODULES[code]}").PROVIDER
    if not isinstance(found, Provider):
        raise TypeError(f"knit.providers.{code} exposes no Provider")
    return found


class Registry:
    """Implements ports.Solvers over the provider settings of this process; builds each solver once."""

    def __init__(self, settings: Mapping[str, str], runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._built: dict[tuple[str, str], Solver] = {}
        self._lock = threading.Lock()

    def solver(self, provider: str) -> Solver:
        """Raises Misconfigured for an unknown code, or naming the variable when a credential is missing."""
        key = split(provider)
        with self._lock:
            if key not in self._built:
                self._built[key] = self._build(*key)
            return self._built[key]

    def code(self, provider: str) -> str:
        """Raises Misconfigured for an unknown code."""
        return split(provider)[0]

    def _build(self, code: str, account: str) -> Solver:
        try:
            return provider(code).solver(Values(self._settings, account), self._runtime)
        except Misconfigured as e:
            raise Misconfigured(f"DNS provider {code}{'@' if account else ''}{account}: {e}") from None
