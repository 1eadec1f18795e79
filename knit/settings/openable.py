"""What processes know of the issuers that they open: how each is spoken to, secrets among it."""

from __future__ import annotations

from dataclasses import dataclass, field

from knit.core import proxy
from knit.core.model.issuer import Terms
from knit.core.proxy import Proxies
from knit.errors import Misconfigured
from knit.settings.environment import Environment, readable_file
from knit.settings.own_issuers import OwnCa, SelfSigned
from knit.settings.variables import SETTINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """How to speak to a CA over ACME. `plain`: it is described by variables, and not by a file."""

    terms: Terms
    plain: bool
    email: str | None
    ca_files: tuple[str, ...]
    hosts: tuple[str, ...]
    deactivates: bool
    proxies: Proxies
    eab_kid: str | None
    eab_hmac: str | None = field(repr=False)
    account_key_file: str | None = None


Openable = Acme | OwnCa | SelfSigned
"""What a process knows of an issuer that is to be opened."""


def plain_acme(env: Environment, terms: Terms) -> Acme:
    """As the plain variables describe it. Raises Misconfigured."""
    kid, hmac = (SETTINGS[f"KNIT_ACME_EAB_{part}"].read(env) for part in ("KID", "HMAC"))
    if (kid is None) != (hmac is None):
        message = "KNIT_ACME_EAB_KID and KNIT_ACME_EAB_HMAC: set both or neither"
        raise Misconfigured(message)
    own = SETTINGS["KNIT_ACME_CA_FILE"].read(env)
    return Acme(
        terms=terms,
        plain=True,
        email=SETTINGS["KNIT_ACME_EMAIL"].read(env),
        ca_files=legos_roots(env) if own is None else (own,),
        hosts=SETTINGS["KNIT_ACME_HOSTS"].read(env) or (),
        deactivates=SETTINGS["KNIT_ACME_DEACTIVATE"].read(env),
        proxies=proxies(env),
        eab_kid=kid,
        eab_hmac=hmac,
    )


def legos_roots(env: Environment) -> tuple[str, ...]:
    """Files that lego reads roots of CAs from. Raises Misconfigured."""
    files = tuple(path for path in env.get("LEGO_CA_CERTIFICATES", "").split(":") if path)
    for path in files:
        try:
            readable_file(path)
        except ValueError as error:
            message = f"LEGO_CA_CERTIFICATES={path!r}: must be {error}"
            raise Misconfigured(message) from None
    return files


def proxies(env: Environment) -> Proxies:
    """The way out to CAs. Upper case goes before lower case, as in Go. Raises Misconfigured."""
    through, spared = (env.get(name) or env.get(name.lower()) or "" for name in ("HTTPS_PROXY", "NO_PROXY"))
    try:
        return proxy.parse(through, spared)
    except ValueError as error:
        message = f"HTTPS_PROXY: {error}"
        raise Misconfigured(message) from None
