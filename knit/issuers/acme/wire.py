"""What the CA sends, narrowed to what knit acts on, and checked: nothing in it is believed (RFC 8555 section 7.1).

Parsed by hand because the library's classes refuse what the RFC allows (an authorization that is `expired`, a new
kind of challenge) and let pass what must not be acted on: URLs at other hosts, tokens that are no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from knit.core.text import clean
from knit.issuers.acme.hosts import Garbled, Hosts
from knit.issuers.acme.origin import Origin
from knit.issuers.acme.problems import Problem
from knit.issuers.acme.transport import Reply

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,128}")
LINK: Final = re.compile(r'<([^<>]*)>\s*;[^<]*?\brel="?([a-z-]+)"?')
MOST_NAMES: Final = 1000
ENDPOINTS: Final = ("newNonce", "newAccount", "newOrder", "renewalInfo", "revokeCert", "keyChange")

PENDING: Final = "pending"
READY: Final = "ready"
PROCESSING: Final = "processing"
VALID: Final = "valid"
INVALID: Final = "invalid"
STATUSES: Final = frozenset({PENDING, READY, PROCESSING, VALID, INVALID})


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where to send what. `profiles` by name, as the CA describes them; `hosts` are the CA's, as it says itself."""

    hosts: Hosts
    new_nonce: str
    new_account: str | None
    new_order: str
    renewal_info: str | None
    revoke_cert: str | None
    key_change: str | None
    profiles: Mapping[str, object]
    account_binding: bool
    terms_of_service: str | None
    caa_identities: frozenset[str]

    @classmethod
    def from_reply(cls, reply: Reply, hosts: Hosts) -> Directory:
        """Raises Garbled."""
        fields = _object(reply, "directory")
        meta = _dict(fields.get("meta"))
        urls = {key: url for key in ENDPOINTS if (url := https(fields.get(key))) is not None}
        for key in ("newNonce", "newOrder"):
            if key not in urls:
                message = f"the directory of the CA at {hosts} names no https URL as {key}"
                raise Garbled(message)
        named = meta.get("caaIdentities")
        return cls(
            hosts=hosts.including(urls.values()),
            new_nonce=urls["newNonce"],
            new_account=urls.get("newAccount"),
            new_order=urls["newOrder"],
            renewal_info=urls.get("renewalInfo"),
            revoke_cert=urls.get("revokeCert"),
            key_change=urls.get("keyChange"),
            profiles=_dict(meta.get("profiles")),
            account_binding=meta.get("externalAccountRequired") is True,
            terms_of_service=https(meta.get("termsOfService")),
            caa_identities=frozenset(
                name.lower() for name in (named if isinstance(named, list) else ()) if isinstance(name, str)
            ),
        )

    def registers_at(self) -> str:
        """URL of newAccount. Raises Garbled where there is none."""
        if self.new_account is None:
            message = f"the directory of the CA at {self.hosts} names no https URL as newAccount"
            raise Garbled(message)
        return self.new_account


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order and where it lives. What the CA left out, or gave in a form that makes no sense, is None.

    Only what the next step needs is asked for, by the methods that raise.
    """

    url: str
    status: str
    names: frozenset[str] | None
    certificate: str | None
    error: object
    fields: Mapping[str, Any]
    hosts: Hosts

    @classmethod
    def from_reply(cls, reply: Reply, hosts: Hosts, url: str | None = None) -> Order:
        """`url` unless the reply tells it (newOrder). Raises Garbled without a status."""
        fields = _object(reply, "order")
        return cls(
            url=hosts.own(reply.headers.get("location"), "the order's Location") if url is None else url,
            status=_text(fields, "status"),
            names=_names(fields.get("identifiers")),
            certificate=fields.get("certificate") or None,
            error=fields.get("error"),
            fields=fields,
            hosts=hosts,
        )

    def authorizations(self) -> tuple[str, ...]:
        """URLs of what is to be proved. Raises Garbled."""
        found: list[object] = _typed(self.fields.get("authorizations"), list, "authorizations")
        if len(found) > MOST_NAMES:
            message = f"the CA's authorizations are more than {MOST_NAMES}"
            raise Garbled(message)
        return tuple(self.hosts.own(item, "an authorization's URL") for item in found)

    @property
    def problem(self) -> Problem | None:
        """Why it is invalid, where the CA says so with a problem document."""
        found = Problem.from_json(self.error)
        return found if found.code or found.text else None

    @property
    def expires(self) -> datetime | None:
        """When it runs out, where the CA says so."""
        try:
            found = datetime.fromisoformat(str(self.fields.get("expires")))
        except ValueError:
            return None
        return found if found.tzinfo is not None else None

    @property
    def has_finalize(self) -> bool:
        """Whether the CA has named a place for the CSR."""
        return bool(self.fields.get("finalize"))

    def finalize_url(self) -> str:
        """Where the CSR goes. Raises Garbled."""
        return self.hosts.own(self.fields.get("finalize"), "finalize")

    def certificate_url(self) -> str:
        """Where the chain is. Raises Garbled."""
        return self.hosts.own(self.certificate, "certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsChallenge:
    """The dns-01 challenge of one authorization."""

    url: str
    token: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """Proof of control of one name. `error` is that of whichever challenge failed.

    `name` is None, and so is `challenge`, unless the CA says them in a way that can be acted on: one that is valid
    already need not.
    """

    url: str
    status: str
    name: str | None
    wildcard: bool
    challenge: DnsChallenge | None
    error: object

    @classmethod
    def from_reply(cls, reply: Reply, hosts: Hosts, url: str) -> Authorization:
        """Raises Garbled without a status, or where the proof that is wanted cannot be given as it is asked for."""
        fields = _object(reply, "authorization")
        status, name = _text(fields, "status"), _identifier(fields.get("identifier"))
        challenges = fields.get("challenges")
        offered = [item for item in (challenges if isinstance(challenges, list) else ()) if isinstance(item, dict)]
        dns = [item for item in offered[:MOST_NAMES] if item.get("type") == "dns-01"] if status == PENDING else []
        return cls(
            url=url,
            status=status,
            name=None if name is None else name.removeprefix("*."),
            wildcard=fields.get("wildcard") is True or (name or "").startswith("*."),
            challenge=_challenge(dns[0], hosts) if dns else None,
            error=next((item["error"] for item in offered if item.get("error")), None),
        )

    @property
    def subject(self) -> str:
        """The name as it stands in the certificate."""
        name = self.name or "(a name that the CA does not say)"
        return f"*.{name}" if self.wildcard else name


def links(reply: Reply, relation: str, hosts: Hosts) -> list[str]:
    """URLs of the Link headers with this relation (RFC 8288), as far as they are at the CA's hosts."""
    return [url for url, kind in LINK.findall(reply.headers.get("link", "")) if kind == relation and hosts.holds(url)]


def https(url: object) -> str | None:
    """The URL, if it is one that can be asked at all."""
    if not isinstance(url, str):
        return None
    try:
        Origin.of(url)
    except ValueError:
        return None
    return url


def _challenge(fields: Mapping[str, Any], hosts: Hosts) -> DnsChallenge:
    token = _text(fields, "token")
    if not TOKEN.fullmatch(token):
        message = "the CA gave a challenge token that RFC 8555 section 8 does not allow: refused"
        raise Garbled(message)
    status = fields.get("status") or PENDING
    url = hosts.own(fields.get("url"), "a challenge's URL")
    return DnsChallenge(url=url, token=token, status=status if isinstance(status, str) else "")


def _object(reply: Reply, what: str) -> dict[str, Any]:
    try:
        found = reply.json()
    except ValueError as error:
        message = f"the CA's {what} is not JSON"
        raise Garbled(message) from error
    fields: dict[str, Any] = _typed(found, dict, f"its {what}")
    return fields


def _identifier(fields: object) -> str | None:
    value = _dict(fields).get("value")
    if not isinstance(value, str) or _dict(fields).get("type", "dns") != "dns":
        return None
    return value.lower().removesuffix(".")


def _names(fields: object) -> frozenset[str] | None:
    if not isinstance(fields, list) or len(fields) > MOST_NAMES:
        return None
    found = [_identifier(item) for item in fields]
    return None if None in found or not found else frozenset(name for name in found if name)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], key: str) -> str:
    found: str = _typed(fields.get(key) or None, str, key)
    return clean(found, 300)


def _typed(value: Any, kind: Callable[..., Any], what: str) -> Any:
    if type(value) is kind:
        return value
    message = f"the CA's answer cannot be understood: {what} is missing or of another kind"
    raise Garbled(message)
