"""The keys of the file of issuers (KNIT_ISSUERS_FILE): it is read by them, and its page is printed from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import NoReturn

from knit.core import limits, words
from knit.core.issuers import GOOGLE_STAGING, LETS_ENCRYPT_STAGING
from knit.core.model.keys import KeyType
from knit.core.names import subtree
from knit.core.text import either
from knit.errors import Misconfigured
from knit.settings import environment
from knit.settings.document import TableKey, flag, text, texts
from knit.settings.environment import readable_file

SSLCOM = {True: "https://acme.ssl.com/sslcom-dv-rsa", False: "https://acme.ssl.com/sslcom-dv-ecc"}
"""By whether keys are RSA: this CA has a directory for each."""

WELL_KNOWN: Mapping[str, str] = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": LETS_ENCRYPT_STAGING,
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
    "google-staging": GOOGLE_STAGING,
    "sslcom": SSLCOM[False],
}
"""Directories of issuers that need none in the file, by their names."""

PLACES = range(1, 1001)
"""Orders in flight at one issuer."""

SHORTEST = timedelta(hours=1)
"""Lifetime of a certificate."""


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


def _limits(value: object) -> str | Mapping[str, object]:
    """As it stands, once it is known to be a model. What its directory is known for, it need not say."""
    if not isinstance(value, str | Mapping):
        raise ValueError(f"one of {', '.join(limits.MODELS)}, or a table")  # noqa: TRY004 -- as any wrong value
    limits.of(value, "")
    return value


def _concurrency(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in PLACES:
        raise ValueError(f"a number from {PLACES.start} to {PLACES.stop - 1}")
    return value


def _tree(value: str) -> str:
    try:
        return subtree(value)
    except Misconfigured as error:
        raise ValueError(f"names such as example.org, which stand for all below them too ({error})") from None


def _lifetime(value: str) -> timedelta:
    found = words.duration(value)
    return found if found >= SHORTEST else _refuse("a duration of an hour or more, such as 12h or 90d")


def _refuse(allowed: str) -> NoReturn:
    raise ValueError(allowed)


TOP: tuple[TableKey, ...] = (
    TableKey(
        "default",
        texts(str),
        "The issuers of certificates that name none, in order: the next one is asked when the one before is down or "
        "has reached its limits.",
        default=(),
        otherwise="the only one",
    ),
    TableKey("issuer", lambda value: value, "The tables of the issuers.", default={}),
)

KIND = TableKey(
    "kind",
    text(str),
    "`acme`: a CA that speaks ACME (RFC 8555). `ca`: a CA of your own, from files. `selfsigned`: for trials.",
    needed=True,
)
KEY_TYPE = TableKey(
    "key_type",
    text(_key_type),
    f"Kind of key of certificates that ask for none: {either(f'`{one}`' for one in KeyType)}.",
    default=KeyType.EC256,
    otherwise="`ec256`",
)

ACME: tuple[TableKey, ...] = (
    KIND,
    TableKey(
        "directory",
        text(environment.url("https")),
        "Directory URL of the CA.",
        otherwise=f"known for {', '.join(f'`{name}`' for name in WELL_KNOWN)}; for all others needed",
    ),
    TableKey(
        "email",
        text(_printable),
        "Contact address of the account. Another one is sent to the CA after a restart.",
        otherwise="no contact",
    ),
    TableKey("eab_kid", text(_printable), "Key id of the external account binding (RFC 8555 section 7.3.4)."),
    TableKey(
        "eab_hmac_file",
        text(str),
        "File with the HMAC key of the external account binding, base64url as the CA gave it. Read by processes that "
        "issue, and used only when an account is registered.",
    ),
    TableKey(
        "account_key_file",
        text(str),
        "File with the key (PEM, DER or JWK) of an account that is there already: taken over, instead of a new one, "
        "when no account of this issuer is kept yet. Read then, and not again; no binding is needed, and a key that "
        "the CA does not know is refused.",
        otherwise="a new account",
    ),
    TableKey(
        "ca_file",
        text(readable_file),
        "PEM file with the roots that vouch for the CA's own web server, and whose signature alone makes a certificate "
        "whole when a CA sends it without its issuer's.",
        otherwise="the system's roots, or those in `LEGO_CA_CERTIFICATES`",
    ),
    TableKey(
        "hosts",
        texts(_host),
        "More hosts of the CA, with or without a port: where its orders may lead besides the host of the directory and "
        "those of the endpoints named in it.",
        default=(),
        otherwise="none",
    ),
    TableKey(
        "deactivate",
        flag,
        "Give up the proofs of control of a certificate's names once it is issued, where the CA goes along.",
        default=True,
        otherwise="`true`",
    ),
    KEY_TYPE,
    TableKey("profile", text(_word), "Profile of certificates that ask for none.", otherwise="the CA's own choice"),
    TableKey(
        "preferred_chain",
        text(_printable),
        "Chain of certificates that ask for none: a common name of the issuer of its last certificate, or else of any.",
        otherwise="the CA's own choice",
    ),
    TableKey(
        "concurrency",
        _concurrency,
        "How many of its orders may be in flight, over all workers together.",
        otherwise="as many as the workers have threads for",
    ),
    TableKey(
        "limits",
        _limits,
        "The limits that the CA publishes: `letsencrypt`, `letsencrypt-staging`, `none`, or a table.",
        otherwise="those that its host is known for, or none",
    ),
    TableKey(
        "staging",
        flag,
        "Its certificates are for trials, and never take the place of trusted ones unless `--allow-staging` says so.",
        otherwise="`true` for the directories of `google-staging` and `letsencrypt-staging`",
    ),
)

CA: tuple[TableKey, ...] = (
    KIND,
    TableKey(
        "cert_file",
        text(str),
        "PEM file with the issuing certificate, then those above it. Servers send them, but for a root. Every process "
        "and command reads it: the CA is identified by its public key.",
        needed=True,
    ),
    TableKey(
        "key_file",
        text(str),
        "PEM file with the key of the issuing certificate (PKCS#8, EC or RSA). Read by processes that issue.",
        needed=True,
    ),
    TableKey(
        "passphrase_file", text(str), "File with the passphrase of the key.", otherwise="the key is not encrypted"
    ),
    TableKey(
        "lifetime",
        text(_lifetime),
        "How long its certificates are valid, from an hour up; never longer than those above them.",
        default=timedelta(days=90),
        otherwise="`90d`",
    ),
    TableKey(
        "permitted",
        texts(_tree),
        "For which names it issues: `example.org` stands for itself and all below it. Name constraints of its "
        "certificates bind as well.",
        otherwise="all that its certificates allow",
    ),
    TableKey(
        "client_auth",
        flag,
        "Its certificates also say who a client is (extended key usage `clientAuth`).",
        default=False,
        otherwise="`false`: servers only",
    ),
    TableKey(
        "crl_url",
        text(environment.url("http", "https")),
        "Where clients find the list that `knit ca crl` writes; its certificates say so.",
        otherwise="they name none",
    ),
    TableKey(
        "crl_lifetime",
        text(_lifetime),
        "For how long a list is good: write the next one well before.",
        default=timedelta(days=7),
        otherwise="`7d`",
    ),
    KEY_TYPE,
    TableKey("staging", flag, "Its certificates are for trials.", default=False, otherwise="`false`"),
)

SELFSIGNED: tuple[TableKey, ...] = (
    KIND,
    TableKey(
        "lifetime",
        text(_lifetime),
        "How long its certificates are valid, from an hour up.",
        default=timedelta(days=30),
        otherwise="`30d`",
    ),
    KEY_TYPE,
)
