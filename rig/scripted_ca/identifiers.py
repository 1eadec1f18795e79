"""Which names may be ordered (RFC 8555 section 7.1.3 and 7.1.4)."""

import re
from typing import Any

from rig.scripted_ca.problems import Kind, Refusal

_NAME_MOST = 253
_NAMES_MOST = 100
_NAME = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def names(identifiers: Any) -> tuple[str, ...]:
    """Read the identifiers of a new order; raise Refusal for other types, doubled or impossible names."""
    if not isinstance(identifiers, list) or not 1 <= len(identifiers) <= _NAMES_MOST:
        raise Refusal(Kind.MALFORMED, f"an order has 1 to {_NAMES_MOST} identifiers")
    found = tuple(_name(item) for item in identifiers)
    if len(set(found)) != len(found):
        raise Refusal(Kind.MALFORMED, "an identifier is doubled")
    return found


def _name(identifier: Any) -> str:
    if not isinstance(identifier, dict) or not isinstance(identifier.get("value"), str):
        raise Refusal(Kind.MALFORMED, "an identifier has a type and a value")
    if identifier.get("type") != "dns":
        raise Refusal(Kind.UNSUPPORTED_IDENTIFIER, "only dns identifiers are supported")
    value: str = identifier["value"]
    if len(value) > _NAME_MOST or not _NAME.fullmatch(value):
        raise Refusal(Kind.REJECTED_IDENTIFIER, f"{value!r} is not a DNS name in lower case")
    return value
