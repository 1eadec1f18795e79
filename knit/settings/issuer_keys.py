"""The keys of the file of issuers (KNIT_ISSUERS_FILE): it is read by them, and its page is printed from them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from knit.core import limits
from knit.core.model.certificate import KeyType
from knit.settings import environment
from knit.settings.document import Key, flag, text, texts
from knit.settings.environment import readable_file

LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
SSLCOM = {True: "https://acme.ssl.com/sslcom-dv-rsa", False: "https://acme.ssl.com/sslcom-dv-ecc"}
"""By whether keys are RSA: this CA has a directory for each."""

WELL_KNOWN: Mapping[str, str] = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": LETS_ENCRYPT_STAGING,
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
    "google-staging": "https://dv.acme-v02.test-api.pki.goog/directory",
    "sslcom": SSLCOM[False],
}
"""Directories of issuers that need none in the file, by their names."""

STAGING = frozenset({"letsencrypt-staging", "google-staging"})


def _key_type(value: str) -> KeyType:
    if value not in tuple(KeyType):
        raise ValueError(f"one of {', '.join(KeyType)}")
    return KeyType(value)


def _word(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("one word of letters, digits, dots and hyphens")
    return value


def _printable(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError("printable text")
    return value


def _host(value: str) -> str:
    return environment.hosts(value)[0] if "," not in value else _refuse("a host name, with or without a port")


def _refuse(allowed: str) -> str:
    raise ValueError(allowed)


def _limits(value: object) -> str | Mapping[str, object]:
    """As it stands, once it is known to be a model. What its directory is known for, it need not say."""
    if not isinstance(value, str | Mapping):
        raise ValueError(f"one of {', '.join(limits.MODELS)}, or a table")  # noqa: TRY004 -- as any wrong value
    limits.of(value, "")
    return value


TOP: tuple[Key, ...] = (
    Key(
        "default",
        texts(str),
        "The issuers of certificates that name none, in order: the next one is asked when the one before is down or "
        "has reached its limits.",
        default=(),
        otherwise="the only one",
    ),
    Key("issuer", lambda value: value, "The tables of the issuers.", default={}),
)

ACME: tuple[Key, ...] = (
    Key("kind", text(str), "`acme`: a CA that speaks ACME (RFC 8555).", needed=True),
    Key(
        "directory",
        text(environment.url("https")),
        "Directory URL of the CA.",
        otherwise=f"known for {', '.join(f'`{name}`' for name in WELL_KNOWN)}; for all others needed",
    ),
    Key("email", text(_printable), "Contact address of the account.", otherwise="no contact"),
    Key("eab_kid", text(_printable), "Key id of the external account binding (RFC 8555 section 7.3.4)."),
    Key(
        "eab_hmac_file",
        text(str),
        "File with the HMAC key of the external account binding, base64url as the CA gave it. Read by processes that "
        "issue, and used only when an account is registered.",
    ),
    Key(
        "ca_file",
        text(readable_file),
        "PEM file with the roots that vouch for the CA's own web server, and whose signature alone makes a certificate "
        "whole when a CA sends it without its issuer's.",
        otherwise="the system's roots, or those in `LEGO_CA_CERTIFICATES`",
    ),
    Key(
        "hosts",
        texts(_host),
        "More hosts of the CA, with or without a port: where its orders may lead besides the host of the directory and "
        "those of the endpoints named in it.",
        default=(),
        otherwise="none",
    ),
    Key(
        "deactivate",
        flag,
        "Give up the proofs of control of a certificate's names once it is issued, where the CA goes along.",
        default=True,
        otherwise="`true`",
    ),
    Key(
        "key_type",
        text(_key_type),
        "Kind of key of certificates that ask for none: `ec256`, `ec384`, `rsa2048`, `rsa3072` or `rsa4096`.",
        default=KeyType.EC256,
        otherwise="`ec256`",
    ),
    Key("profile", text(_word), "Profile of certificates that ask for none.", otherwise="the CA's own choice"),
    Key(
        "preferred_chain",
        text(_printable),
        "Chain of certificates that ask for none, by a common name.",
        otherwise="the CA's own choice",
    ),
    Key(
        "limits",
        _limits,
        "The limits that the CA publishes: `letsencrypt`, `letsencrypt-staging`, `none`, or a table.",
        otherwise="those that its host is known for, or none",
    ),
    Key(
        "staging",
        flag,
        "Its certificates are for trials.",
        otherwise=f"`true` for {' and '.join(f'`{name}`' for name in sorted(STAGING))}",
    ),
)

KINDS: Mapping[str, tuple[Key, ...]] = {"acme": ACME}
"""The keys of each kind of issuer."""
