"""What the CA sends, narrowed to what knit acts on, and checked: nothing in it is believed (RFC 8555 section 7.1).

Parsed by hand because the library's classes refuse what the RFC allows (an authorization that is `expired`, a new
kind of challenge) and let pass what must not be acted on: URLs at other hosts, tokens that are no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from knit.errors import Unreachable
from knit.issuers.acme.transport import Origin, Reply

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,128}")
LINK: Final = re.compile(r'<([^<>]*)>\s*;[^<]*?\brel="?([a-z-]+)"?')
MOST_NAMES: Final = 1000

PENDING: Final = "pending"
READY: Final = "ready"
PROCESSING: Final = "processing"
VALID: Final = "valid"
INVALID: Final = "invalid"


class Garbled(Unreachable):
    """The CA's answer is not what RFC 8555 says it is. Asking again later may help; acting on it never would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where to send what. `profiles` by name, as the CA describes them."""

    new_nonce: str
    new_account: str
    new_order: str
    renewal_info: str | None
    profiles: Mapping[str, str]
    account_binding: bool
    document: Mapping[str, Any]

    @classmethod
    def from_reply(cls, reply: Reply, origin: Origin) -> Directory:
        """Raises Garbled."""
        fields = _object(reply, "directory")
        meta = fields.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        profiles = meta.get("profiles")
        renewal_info = fields.get("renewalInfo")
        return cls(
            new_nonce=_url(fields, "newNonce", origin),
            new_account=_url(fields, "newAccount", origin),
            new_order=_url(fields, "newOrder", origin),
            renewal_info=None if renewal_info is None else _url(fields, "renewalInfo", origin),
            profiles=profiles if isinstance(profiles, dict) else {},
            account_binding=meta.get("externalAccountRequired") is True,
            document=fields,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order and where it lives."""

    url: str
    status: str
    names: frozenset[str]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str | None
    error: object

    @classmethod
    def from_reply(cls, reply: Reply, origin: Origin, url: str | None = None) -> Order:
        """`url` unless the reply tells it (newOrder). Raises Garbled."""
        fields = _object(reply, "order")
        certificate = fields.get("certificate")
        return cls(
            url=same_origin(reply.headers.get("location"), "the order's Location", origin) if url is None else url,
            status=_text(fields, "status"),
            names=frozenset(_identifier(item) for item in _list(fields, "identifiers")),
            authorizations=tuple(
                same_origin(item, "an authorization's URL", origin) for item in _list(fields, "authorizations")
            ),
            finalize=_url(fields, "finalize", origin),
            certificate=None if certificate is None else _url(fields, "certificate", origin),
            error=fields.get("error"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsChallenge:
    """The dns-01 challenge of one authorization."""

    url: str
    token: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """Proof of control of one name. `error` is that of whichever challenge failed."""

    url: str
    status: str
    name: str
    wildcard: bool
    challenge: DnsChallenge | None
    error: object

    @classmethod
    def from_reply(cls, reply: Reply, origin: Origin, url: str) -> Authorization:
        """Raises Garbled."""
        fields = _object(reply, "authorization")
        offered = [item for item in _list(fields, "challenges") if isinstance(item, dict)]
        dns = next((item for item in offered if item.get("type") == "dns-01"), None)
        return cls(
            url=url,
            status=_text(fields, "status"),
            name=_identifier(fields.get("identifier")),
            wildcard=fields.get("wildcard") is True,
            challenge=None if dns is None else _challenge(dns, origin),
            error=next((item["error"] for item in offered if "error" in item), None),
        )

    @property
    def subject(self) -> str:
        """The name as it stands in the certificate."""
        return f"*.{self.name}" if self.wildcard else self.name


def links(reply: Reply, relation: str, origin: Origin) -> list[str]:
    """URLs of the Link headers with this relation (RFC 8288). Raises Garbled for one at another host."""
    found = LINK.findall(reply.headers.get("link", ""))
    return [same_origin(url, f"a {relation} link", origin) for url, kind in found if kind == relation]


def same_origin(url: object, what: str, origin: Origin) -> str:
    """Give the URL back if it is https and at the CA's own host and port; else raise Garbled."""
    if isinstance(url, str) and origin.holds(url):
        return url
    message = f"the CA at {origin} gave no https URL at its own host as {what}: refused"
    raise Garbled(message)


def _challenge(fields: Mapping[str, Any], origin: Origin) -> DnsChallenge:
    token = _text(fields, "token")
    if not TOKEN.fullmatch(token):
        message = "the CA gave a challenge token that RFC 8555 section 8 does not allow: refused"
        raise Garbled(message)
    status = fields.get("status", PENDING)
    return DnsChallenge(url=_url(fields, "url", origin), token=token, status=status if isinstance(status, str) else "")


def _object(reply: Reply, what: str) -> dict[str, Any]:
    try:
        found = reply.json()
    except ValueError as error:
        message = f"the CA's {what} is not JSON"
        raise Garbled(message) from error
    fields: dict[str, Any] = _typed(found, dict, f"its {what}")
    return fields


def _identifier(fields: object) -> str:
    found: dict[str, Any] = _typed(fields, dict, "an identifier")
    if found.get("type") != "dns":
        message = "the CA speaks of an identifier that is not a DNS name"
        raise Garbled(message)
    return _text(found, "value").lower()


def _list(fields: Mapping[str, Any], key: str) -> list[Any]:
    found: list[Any] = _typed(fields.get(key), list, key)
    if len(found) > MOST_NAMES:
        message = f"the CA's {key} are more than {MOST_NAMES}"
        raise Garbled(message)
    return found


def _text(fields: Mapping[str, Any], key: str) -> str:
    found: str = _typed(fields.get(key), str, key)
    return found


def _url(fields: Mapping[str, Any], key: str, origin: Origin) -> str:
    return same_origin(fields.get(key), key, origin)


def _typed(value: Any, kind: Callable[..., Any], what: str) -> Any:
    if type(value) is kind:
        return value
    message = f"the CA's answer cannot be understood: {what} is missing or of another kind"
    raise Garbled(message)
