"""Issuers as a file describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from knit.core.imported import IMPORTED
from knit.core.issuers import STAGING
from knit.core.model.issuer import Terms
from knit.core.model.keys import KeyType
from knit.core.wanted import ISSUER
from knit.errors import Misconfigured
from knit.settings import environment
from knit.settings.document import Document, TableKey
from knit.settings.environment import Environment
from knit.settings.issuer_keys import ACME, CA, SELFSIGNED, SSLCOM, TOP, WELL_KNOWN
from knit.settings.issuers import Described
from knit.settings.openable import Acme, Openable, legos_roots, proxies
from knit.settings.own_issuers import ca_directory, own_ca, self_signed
from knit.settings.roots import told


def described(name: str, raw: str, env: Environment) -> Described:
    """The issuers of the file that errors call `name`. Raises Misconfigured with the line."""
    file = Document.parse(name, raw)
    top = file.values((), file.content, TOP)
    if not isinstance(top["issuer"], Mapping) or not top["issuer"]:
        raise Misconfigured(f"{file.name}: must describe at least one issuer, in a table [issuer.NAME]")
    found = {name: _values(file, env, name, table) for name, table in top["issuer"].items()}
    default = _default(file, top["default"], found)
    terms = {name: _terms(name, values) for name, values in found.items()}
    openers = {name: partial(KINDS[terms[name].kind].opened, file, env, terms[name], found[name]) for name in found}
    return Described(default=default, terms=tuple(terms.values()), openers=openers)


def _values(file: Document, env: Environment, name: str, table: object) -> dict[str, Any]:
    path = ("issuer", name)
    if not ISSUER.fullmatch(name):
        raise file.wrong(path, f"issuer {name[:60]!r}: a name must be 1 to 40 of a-z, 0-9 and hyphens")
    if name == IMPORTED:
        raise file.wrong(path, f"issuer {name!r}: stands for certificates that knit does not order; name it otherwise")
    if not isinstance(table, Mapping):
        raise file.wrong(path, f"issuer.{name}: must be a table, [issuer.{name}]")
    word = table.get("kind", "acme")  # Where it is missing, `values` says so.
    kind = KINDS.get(word) if isinstance(word, str) else None
    if kind is None:
        raise file.wrong((*path, "kind"), f"kind = {str(word)[:60]!r}: must be {' or '.join(KINDS)}")
    return kind.completed(file, env, name, file.values(path, table, kind.keys))


def _acme_values(file: Document, env: Environment, name: str, values: dict[str, Any]) -> dict[str, Any]:
    path = ("issuer", name)
    if values["directory"] is None:
        values["directory"] = _well_known(file, name, values["key_type"])
    if (values["eab_kid"] is None) != (values["eab_hmac_file"] is None):
        raise file.wrong(path, f"issuer.{name}: eab_kid and eab_hmac_file: set both or neither")
    if values["staging"] is None:
        values["staging"] = values["directory"] in STAGING
    return values | {"roots": told(values["ca_file"], env)}


def _well_known(file: Document, name: str, key_type: KeyType) -> str:
    if name not in WELL_KNOWN:
        known = ", ".join(WELL_KNOWN)
        raise file.wrong(("issuer", name), f"issuer.{name}: directory is missing; only {known} need none")
    return SSLCOM[key_type.value.startswith("rsa")] if name == "sslcom" else WELL_KNOWN[name]


def _default(file: Document, wanted: tuple[str, ...], found: Mapping[str, object]) -> tuple[str, ...]:
    if not wanted and len(found) == 1:
        return tuple(found)
    if not wanted:
        raise Misconfigured(f"{file.name}: default is missing: which of {', '.join(found)} issue, and in which order")
    for name in wanted:
        if name not in found:
            raise file.wrong(("default",), f"default: no issuer is called {name!r}; there are {', '.join(found)}")
    return tuple(dict.fromkeys(wanted))


def _terms(name: str, values: Mapping[str, Any]) -> Terms:
    own = ("kind", "directory", "staging", "key_type", "profile", "preferred_chain", "limits", "concurrency", "roots")
    return Terms(name=name, **{key: values[key] for key in own if key in values})


def _acme(file: Document, env: Environment, terms: Terms, values: Mapping[str, Any]) -> Acme:
    return Acme(
        terms=terms,
        plain=False,
        email=values["email"],
        ca_files=legos_roots(env) if values["ca_file"] is None else (values["ca_file"],),
        hosts=values["hosts"],
        deactivates=values["deactivate"],
        proxies=proxies(env),
        eab_kid=values["eab_kid"],
        account_key_file=values["account_key_file"],
        eab_hmac=_secret(file, terms.name, "eab_hmac_file", values, environment.base64url),
    )


def _secret(file: Document, name: str, key: str, values: Mapping[str, Any], parser: Callable[[str], str]) -> str | None:
    """What is in the file that a key names. The text itself is never shown."""
    if values[key] is None:
        return None
    path = ("issuer", name, key)
    try:
        return parser(Path(values[key]).read_text(encoding="utf-8").rstrip("\r\n"))
    except OSError as error:
        raise file.wrong(path, f"{key} = {values[key]!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise file.wrong(path, f"{key} = {values[key]!r}: cannot be read (not UTF-8 text)") from None
    except ValueError as error:
        raise file.wrong(path, f"{key} = {values[key]!r}: what it holds must be {error}") from None


def _ca_values(file: Document, _: Environment, name: str, values: dict[str, Any]) -> dict[str, Any]:
    return values | {"directory": ca_directory(file, name, values)}


def _self_signed_values(_: Document, __: Environment, name: str, values: dict[str, Any]) -> dict[str, Any]:
    return values | {"directory": f"selfsigned:{name}", "staging": True}


class IssuerKind(NamedTuple):
    """A kind of issuer: the keys of its table, what they come to with what follows from them, and what it opens as."""

    keys: tuple[TableKey, ...]
    completed: Callable[[Document, Environment, str, dict[str, Any]], dict[str, Any]]
    opened: Callable[[Document, Environment, Terms, Mapping[str, Any]], Openable]


KINDS: Mapping[str, IssuerKind] = {
    "acme": IssuerKind(ACME, _acme_values, _acme),
    "ca": IssuerKind(CA, _ca_values, lambda file, _, terms, values: own_ca(file, terms, values)),
    "selfsigned": IssuerKind(SELFSIGNED, _self_signed_values, lambda _, __, terms, values: self_signed(terms, values)),
}
