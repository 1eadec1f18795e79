"""What may stand on the list of certificates: the one judgement of an entry by itself, whoever wrote it.

What concerns other certificates (names, keys and files belong to one) is the list's own to check.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from knit.core.imported import HOW, IMPORTED, is_imported
from knit.core.model.certificate import CertId, names_in
from knit.core.model.keys import KeyType
from knit.core.names import covered, key_of, normalise
from knit.core.near import near
from knit.core.placement import MAX_PATH, spelled, target
from knit.errors import Misconfigured, Refused

LONGEST_KEY = 1024
ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
ISSUER = re.compile(r"[a-z0-9-]{1,40}")
ISSUERS = "names of issuers, of a-z, 0-9 and hyphens, separated by commas"
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRules:
    """What an installation allows on its list.

    `issuers`: whom a certificate may ask for. `own`: those of them that sign here, and have neither profiles nor more
    than one chain. `default`: whom one asks for that names nobody.
    `reserved` says of a Valkey key that no certificate may be published there, because knit uses it itself.
    `proving`: the issuers that ask for proofs of names, "" among them where the default does.
    """

    issuers: tuple[str, ...]
    reserved: Callable[[str], bool]
    proving: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    default: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An entry of the list, good or bad; `names` are normalised when it is good."""

    names: tuple[str, ...]
    provider: str
    valkey_key: str
    cert_path: str
    key_path: str
    issuer: str = ""
    key_type: str = ""
    profile: str | None = None
    preferred_chain: str | None = None
    renew_before: timedelta | None = None
    reuse_key: bool = False
    allow_staging: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is said about an entry. None: not said. An empty text, or no time at all: as if it had never been said."""

    names: tuple[str, ...] | None = None
    add_names: tuple[str, ...] = ()
    remove_names: tuple[str, ...] = ()
    provider: str | None = None
    valkey_key: str | None = None
    cert_path: str | None = None
    key_path: str | None = None
    issuer: str | None = None
    key_type: str | None = None
    profile: str | None = None
    preferred_chain: str | None = None
    renew_before: timedelta | None = None
    reuse_key: bool | None = None
    allow_staging: bool | None = None


NOT_ORDERED: dict[str, Any] = {
    "provider": "none",
    "key_type": "",
    "profile": None,
    "preferred_chain": None,
    "reuse_key": False,
    "allow_staging": False,
}
"""What an entry says that is never ordered. No DNS provider is called `none`: also a knit that does not know of such
entries, the Go one too, can order nothing for it."""

OPTIONS = tuple(one.name for one in fields(Wanted) if one.name != "names")
DEFAULTS: dict[str, object] = {
    **dict.fromkeys(("provider", "valkey_key", "cert_path", "key_path", "issuer", "key_type"), ""),
    "reuse_key": False,
    "allow_staging": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What an edit has done. `before` is None for an entry that is new."""

    id: CertId
    before: Wanted | None
    after: Wanted
    was_enabled: bool
    enabled: bool

    @property
    def differences(self) -> dict[str, tuple[object, object]]:
        """What is not as before, by name, each with both values."""
        if self.before is None:
            return {}
        pairs = [(one.name, getattr(self.before, one.name), getattr(self.after, one.name)) for one in fields(Wanted)]
        pairs.append(("enabled", self.was_enabled, self.enabled))
        return {name: (old, new) for name, old, new in pairs if old != new}


def applied(change: Change, before: Wanted | None) -> Wanted:
    """The entry after the change; what is not said stays. Raises Misconfigured for what nobody means to say."""
    if change.valkey_key is not None and any(c.isspace() for c in change.valkey_key):
        raise Misconfigured(f"valkey_key {change.valkey_key!r}: must not hold white space")
    base = Wanted(names=(), provider="", valkey_key="", cert_path="", key_path="") if before is None else before
    said = {name: getattr(change, name) for name in OPTIONS if getattr(change, name) is not None}
    options: dict[str, Any] = {name: value or DEFAULTS.get(name) for name, value in said.items()}
    if change.key_type is not None:
        options["key_type"] = change.key_type.lower()
    return replace(base, names=_names(change, base.names), **options)


def _names(change: Change, before: tuple[str, ...]) -> tuple[str, ...]:
    """In the order they had, new ones last: the first one is the certificate's primary name."""
    names = before if change.names is None else normalise(change.names)
    if key_of(names) == key_of(before):
        names = before
    gone = () if not change.remove_names else normalise(change.remove_names)
    for name in gone:
        if name not in names:
            raise Misconfigured(f"{name} is not among the names {', '.join(names)}")
    return normalise((*(name for name in names if name not in gone), *change.add_names))


def judged(
    wanted: Wanted,
    allowed: ListRules,
    *,
    standing: Wanted | None = None,
    issued: bool = False,
    imported: bool = False,
) -> Wanted:
    """The entry with its names normalised, and its files as nodes name them.

    A file that a node would refuse is refused here, unless it is `standing` already: a node of the Go knit writes it,
    and to stop renewing the certificate is worse. Nor is a name refused that a wildcard of the same certificate covers
    where the certificate has been `issued`: its CA takes both. `imported`: its certificate is at hand.

    Raises Misconfigured, naming the field and what is allowed.
    """
    if IMPORTED in names_in(wanted.issuer) and not imported:
        _check_imported(wanted, standing)
    cert_path, key_path = (_file(field, wanted, standing) for field in ("cert_path", "key_path"))
    _check_offered(wanted, allowed, standing)
    if spelled(cert_path) == spelled(key_path):
        raise Misconfigured(f"cert_path and key_path are the same file, {cert_path}")
    return replace(
        wanted,
        names=_apart(normalise(wanted.names), issued=issued or is_imported(wanted.issuer)),
        provider=_provider(wanted.provider),
        valkey_key=_valkey_key(wanted.valkey_key, allowed),
        cert_path=cert_path,
        key_path=key_path,
        issuer=IMPORTED if is_imported(wanted.issuer) else _issuers(wanted.issuer, allowed, standing),
        key_type=_key_type(wanted.key_type),
        profile=_profile(wanted.profile),
        preferred_chain=_chain(wanted.preferred_chain),
        renew_before=_renew_before(wanted.renew_before),
    )


def as_imported(wanted: Wanted) -> Wanted:
    """The entry once its certificate is imported: what is asked of CAs is asked no more."""
    return replace(wanted, issuer=IMPORTED, **NOT_ORDERED)


def _check_imported(wanted: Wanted, standing: Wanted | None) -> None:
    """An entry says so by the import of its certificate alone, and nothing of orders beside it."""
    if standing is None or not is_imported(standing.issuer):
        raise Misconfigured(f"issuer {IMPORTED!r}: stands for certificates that {HOW} puts on the list")
    if not is_imported(wanted.issuer):
        raise Misconfigured(f"issuer {wanted.issuer[:100]!r}: {IMPORTED!r} stands alone")
    if key_of(wanted.names) != key_of(standing.names):
        raise Misconfigured(f"the names are those of the imported certificate: {HOW} with another one changes them")
    for field, nothing in NOT_ORDERED.items():
        if getattr(wanted, field) != nothing:
            message = f"{field}: knit does not order an imported certificate before `knit set --issuer NAME` says who"
            raise Misconfigured(message)


def _apart(names: tuple[str, ...], *, issued: bool) -> tuple[str, ...]:
    both = None if issued else covered(names)
    if both is not None:
        name, wildcard = both
        raise Misconfigured(f"{wildcard} covers {name}: leave {name} out, for Let's Encrypt refuses an order for both")
    return names


def _file(field: str, wanted: Wanted, standing: Wanted | None) -> str:
    path: str = getattr(wanted, field)
    if not path.isprintable() or not 0 < len(path) <= MAX_PATH:
        raise Misconfigured(f"{field} {path[:100]!r}: must be printable text of at most {MAX_PATH} characters")
    if standing is not None and path == getattr(standing, field):
        return path
    try:
        return target(path)
    except Refused as error:
        raise Misconfigured(f"{field} {error}") from None


def _provider(text: str) -> str:
    code, at, account = text.partition("@")
    if not WORD.fullmatch(code) or (at and not ACCOUNT.fullmatch(account)):
        raise Misconfigured(f"provider {text!r}: must be a code, or code@account, of letters, digits and hyphens")
    return text


def _valkey_key(text: str, allowed: ListRules) -> str:
    if not text.isprintable() or not text:
        raise Misconfigured(f"valkey_key {text[:100]!r}: must be printable text")
    if len(text) > LONGEST_KEY:
        raise Misconfigured(f"valkey_key {text[:20]!r}…: is too long, {LONGEST_KEY} characters are allowed")
    if allowed.reserved(text):
        raise Misconfigured(f"valkey_key {text} is used by knit itself")
    return text


def _issuers(text: str, allowed: ListRules, standing: Wanted | None) -> str:
    """Each issuer once, without the blanks that a person may type.

    Names already in the row (`standing`) are not checked: another process may have them configured.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text.strip() else ()
    if not all(map(ISSUER.fullmatch, names)):
        raise Misconfigured(f"issuer {text[:100]!r}: must be {ISSUERS}")
    if standing is None or text != standing.issuer:
        for name in names:
            _check_known(name, allowed.issuers)
    return ",".join(names)


def _check_known(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        meant = near(name, known)
        hint = f"did you mean {meant[0]}?" if meant else f"configured: {', '.join(known)}"
        raise Misconfigured(f"issuer {name!r} is not configured here ({hint})")


def _check_offered(wanted: Wanted, allowed: ListRules, standing: Wanted | None) -> None:
    """Something must be able to issue it as it is asked for, where a change has to do with that."""
    asks = ("issuer", "profile", "preferred_chain")
    if standing is not None and all(getattr(wanted, one) == getattr(standing, one) for one in asks):
        return
    issuers = names_in(wanted.issuer) or allowed.default
    if not issuers or not allowed.own.issuperset(issuers):
        return
    for field in ("profile", "preferred_chain"):
        if (asked := getattr(wanted, field)) is not None:
            said = f"issuer {' and '.join(issuers)} signs here and has none: leave it out, or set it to ''"
            raise Misconfigured(f"{field} {str(asked)[:100]!r}: {said}")


def _key_type(text: str) -> str:
    if text and text not in tuple(KeyType):
        raise Misconfigured(f"key_type {text!r}: must be one of {', '.join(KeyType)}")
    return text


def _profile(text: str | None) -> str | None:
    if text is not None and not WORD.fullmatch(text):
        raise Misconfigured(f"profile {text!r}: must be one word of letters, digits, dots and hyphens")
    return text


def _chain(text: str | None) -> str | None:
    if text is not None and not text.isprintable():
        raise Misconfigured(f"preferred_chain {text!r}: must be printable text")
    return text


def _renew_before(value: timedelta | None) -> timedelta | None:
    if value is not None and not timedelta(0) < value <= timedelta(days=3650):
        raise Misconfigured(f"renew_before {value}: must be more than nothing and at most ten years")
    return value
