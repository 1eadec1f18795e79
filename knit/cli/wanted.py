"""From the flags of `knit add` to a certificate to be stored. What concerns other certificates the store checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from knit.core.model import KeyType
from knit.errors import Misconfigured
from knit.settings.environment import duration
from knit.solvers.registry import split as split_provider
from knit.store.certs import NewCert

ISSUERS = ("acme",)
ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_cert(typed: Mapping[str, str]) -> NewCert:
    """`typed` holds the flags that were given, by their names with underscores, no value blank.

    Raises Misconfigured, naming the flag and what is allowed.
    """
    return NewCert(
        names=tuple(name for name in typed["domains"].split(",") if name.strip()),
        provider=_provider(typed["provider"]),
        valkey_key=_valkey_key(typed["valkey_key"]),
        cert_path=typed["cert_path"],
        key_path=typed["key_path"],
        issuer=_issuer(typed.get("issuer", "acme")),
        key_type=_key_type(typed.get("key_type", KeyType.EC256)),
        profile=_profile(typed.get("profile")),
        preferred_chain=_chain(typed.get("preferred_chain")),
        renew_before=_renew_before(typed.get("renew_before")),
    )


def _provider(text: str) -> str:
    split_provider(text)
    _, at, account = text.partition("@")
    if at and not ACCOUNT.fullmatch(account):
        raise Misconfigured(f"--provider {text!r}: an account after @ is one word of letters, digits and hyphens")
    return text


def _valkey_key(text: str) -> str:
    if any(c.isspace() for c in text):
        raise Misconfigured(f"--valkey-key {text!r}: must not hold white space")
    return text


def _issuer(text: str) -> str:
    if text not in ISSUERS:
        raise Misconfigured(f"--issuer {text!r}: must be {' or '.join(ISSUERS)}")
    return text


def _key_type(text: str) -> KeyType:
    try:
        return KeyType(text.lower())
    except ValueError:
        raise Misconfigured(f"--key-type {text!r}: must be one of {', '.join(KeyType)}") from None


def _profile(text: str | None) -> str | None:
    if text is not None and not WORD.fullmatch(text):
        raise Misconfigured(f"--profile {text!r}: must be one word of letters, digits, dots and hyphens")
    return text


def _chain(text: str | None) -> str | None:
    if text is not None and not text.isprintable():
        raise Misconfigured(f"--preferred-chain {text!r}: must be printable text")
    return text


def _renew_before(text: str | None) -> timedelta | None:
    try:
        return None if text is None else duration(text)
    except ValueError as error:
        raise Misconfigured(f"--renew-before {text!r}: must be {error}") from None
