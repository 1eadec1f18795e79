"""Who issues: the plain variables describe one issuer, and a file (KNIT_ISSUERS_FILE) as many as there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from knit.core.issuers import STAGING
from knit.core.model.issuer import UNNAMED, Terms
from knit.errors import Misconfigured
from knit.settings.environment import Environment
from knit.settings.roots import told
from knit.settings.variables import SETTINGS

if TYPE_CHECKING:
    from knit.settings.openable import Openable

PLAIN = UNNAMED
"""The issuer that the plain variables (KNIT_ACME_...) describe: the one of all rows that were written before issuers
had names."""


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
    if not {"=", "["} & set(raw):
        raise Misconfigured(f"{name}: describes no issuer; the path of a file that does is for KNIT_ISSUERS_FILE")
    return issuers_file.described(name, raw, env)


def _refuse_plain(env: Environment, name: str) -> None:
    """Refuse variables that describe an issuer beside the file of issuers."""
    both = [one for one in SETTINGS if one.startswith("KNIT_ACME_") and one in env]
    if both:
        message = f"{', '.join(both)}: cannot be set together with KNIT_ISSUERS_FILE; say it in {name} instead"
        raise Misconfigured(message)


def _plain(env: Environment) -> Described:
    directory = SETTINGS["KNIT_ACME_DIRECTORY"].read(env)
    roots = told(env.get("KNIT_ACME_CA_FILE"), env)
    terms = Terms(name=PLAIN, directory=directory, staging=directory in STAGING, roots=roots)
    return Described(default=(PLAIN,), terms=(terms,), openers={PLAIN: lambda: _plain_acme(env, terms)})


def _plain_acme(env: Environment, terms: Terms) -> Openable:
    from knit.settings.openable import plain_acme  # Few commands ask a CA for anything.

    return plain_acme(env, terms)
