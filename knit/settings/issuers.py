"""Who issues: the plain variables describe one issuer, and a file (KNIT_ISSUERS_FILE) as many as there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from knit.core import proxy
from knit.core.issuers import STAGING
from knit.core.model.issuer import UNNAMED, Terms
from knit.core.proxy import Proxies
from knit.errors import Misconfigured
from knit.settings.environment import Environment, readable_file
from knit.settings.own_issuers import OwnCa, SelfSigned
from knit.settings.variables import SETTINGS

PLAIN = UNNAMED
"""The issuer that the plain variables (KNIT_ACME_...) describe: the one of all rows that were written before issuers
had names."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Issuers as they are described, in the order of the description. `default` names those of whoever names none.

    `openers`, by name, read what only processes need that issue, secrets among it: a command opens the one it uses.
    """

    default: tuple[str, ...]
    terms: tuple[Terms, ...]
    openers: Mapping[str, Callable[[], Openable]] = field(repr=False)

    def openable(self) -> tuple[Openable, ...]:
        """All of them. Raises Misconfigured for the first that cannot be opened."""
        return tuple(opener() for opener in self.openers.values())

    def one(self, name: str) -> Openable:
        """Of an issuer that is described. Raises Misconfigured."""
        return self.openers[name]()


def described(env: Environment) -> Described:
    """By the file where there is one, else by the plain variables. Raises Misconfigured."""
    raw: str | None = SETTINGS["KNIT_ISSUERS"].read(env)
    if raw is None:
        return _plain(env)
    from knit.settings import issuers_file  # Few commands need it, and it needs a parser.

    name = env.origin("KNIT_ISSUERS")
    _refuse_plain(env, name)
    return issuers_file.described(name, raw, env)


def _refuse_plain(env: Environment, name: str) -> None:
    """Two truths about one thing are none."""
    both = [one for one in SETTINGS if one.startswith("KNIT_ACME_") and one in env]
    if both:
        message = f"{', '.join(both)}: cannot be set together with KNIT_ISSUERS_FILE; say it in {name} instead"
        raise Misconfigured(message)


def _plain(env: Environment) -> Described:
    directory = SETTINGS["KNIT_ACME_DIRECTORY"].read(env)
    terms = Terms(name=PLAIN, directory=directory, staging=directory in STAGING)
    return Described(default=(PLAIN,), terms=(terms,), openers={PLAIN: lambda: _plain_acme(env, terms)})


def _plain_acme(env: Environment, terms: Terms) -> Acme:
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
