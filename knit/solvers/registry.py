"""Which file serves which provider code, and the solvers built so far in this process."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Mapping
from importlib import import_module

from knit.errors import Misconfigured
from knit.ports import Solver
from knit.solvers.base import Provider, Runtime, Values

MODULES: dict[str, str] = {
    "bunny": "bunny",
    "cloudflare": "cloudflare",
    "desec": "desec",
    "digitalocean": "digitalocean",
    "dnsupdate": "dnsupdate",
    "duckdns": "duckdns",
    "exec": "exec",
    "gandiv5": "gandiv5",
    "godaddy": "godaddy",
    "hetzner": "hetzner",
    "linode": "linode",
    "namecheap": "namecheap",
    "ovh": "ovh",
    "porkbun": "porkbun",
    "vultr": "vultr",
}
"""lego's code -> module in this package. Modules are imported when they are first asked for."""

ALIASES: dict[str, str] = {
    "acme-dns": "acmedns",
    "linodev4": "linode",
    "rfc2136": "dnsupdate",
}
"""Codes of lego v4 and other spellings -> today's code."""


def split(provider: str) -> tuple[str, str]:
    """`desec@west` -> (`desec`, `west`), aliases resolved; Misconfigured, with near matches, for unknown codes."""
    name, _, account = provider.partition("@")
    code = ALIASES.get(name, name)
    if code not in MODULES:
        near = difflib.get_close_matches(name, [*MODULES, *ALIASES], n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `knit providers` lists all codes"
        raise Misconfigured(f"unknown DNS provider {name!r}{hint}")
    return code, account


def provider(code: str) -> Provider:
    """What the provider says of itself; `code` may be an alias."""
    found = import_module(f"knit.solvers.{MODULES[split(code)[0]]}").PROVIDER
    if not isinstance(found, Provider):
        raise TypeError(f"knit.solvers.{code} exposes no Provider")
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

    def _build(self, code: str, account: str) -> Solver:
        try:
            return provider(code).solver(Values(self._settings, account), self._runtime)
        except Misconfigured as e:
            raise Misconfigured(f"DNS provider {code}{'@' if account else ''}{account}: {e}") from None
