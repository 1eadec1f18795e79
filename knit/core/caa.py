"""May this CA issue for this name? CAA records (RFC 8659) with account and method binding (RFC 8657). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_CRITICAL = 0x80
DNS_01 = "dns-01"
_KNOWN = frozenset({"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caa:
    """One CAA record as it stands in the DNS."""

    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        return f'{self.flags} {self.tag} "{self.value}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaIssuer:
    """Who wants to issue: the names the CA answers to in CAA, and our account there (None: none is known here)."""

    identities: frozenset[str]
    account_uri: str | None
    method: str = DNS_01


def binding(identity: str, account_uri: str) -> str:
    """Value of a CAA record (`issue`, `issuewild`) that lets this CA issue by DNS-01 alone, and to this account alone.

    RFC 8657 sections 3 and 4.
    """
    return f"{identity}; accounturi={account_uri}; validationmethods={DNS_01}"


def objection(records: Sequence[Caa], who: CaaIssuer, *, wildcard: bool) -> str | None:
    """Why the CA must refuse, or None when it may issue. `records` is the relevant set: the first found upwards."""
    strange = [str(record) for record in records if record.flags & _CRITICAL and record.tag.lower() not in _KNOWN]
    if strange:
        return f"the record {strange[0]} is marked critical and no CA knows its tag"
    relevant = _relevant(records, wildcard=wildcard)
    if not relevant:
        return None
    reasons = [_refusal(record.value, who) for record in relevant]
    if None in reasons:
        return None
    return "; ".join(f"{record}: {reason}" for record, reason in zip(relevant, reasons, strict=True))


def _relevant(records: Sequence[Caa], *, wildcard: bool) -> list[Caa]:
    """issuewild, where there is any, replaces issue for wildcards (RFC 8659 section 4.3)."""
    wild = [record for record in records if record.tag.lower() == "issuewild"]
    return wild if wildcard and wild else [record for record in records if record.tag.lower() == "issue"]


def _refusal(value: str, who: CaaIssuer) -> str | None:
    issuer, *parameters = (part.strip() for part in value.split(";"))
    if issuer.lower().rstrip(".") not in who.identities:
        return "names another CA" if issuer else "forbids every CA"
    given: dict[str, str] = {}
    for parameter in filter(None, parameters):
        name, equals, text = parameter.partition("=")
        if not equals:
            return f"its parameter {parameter!r} cannot be read"
        given.setdefault(name.strip().lower(), text.strip())
    methods = given.get("validationmethods")
    if methods is not None and who.method not in {method.strip().lower() for method in methods.split(",")}:
        return f"does not allow {who.method} (validationmethods={methods})"
    account = given.get("accounturi")
    unknown = "not registered yet (or KNIT_DB_URL, which would tell it, is not set)"
    if account is not None and account != who.account_uri:
        return f"is for the account {account}, ours is {who.account_uri or unknown}"
    return None
