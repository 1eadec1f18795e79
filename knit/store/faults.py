"""What psycopg raises, said in knit's words. No text made here holds a password or a statement's values."""

from __future__ import annotations

import json
from datetime import datetime

import psycopg

from knit.errors import KnitError, Misconfigured, NotPermitted, Outage, OverBudget, RowHeld, ServerDenied

REJECTED = (
    "password authentication failed",
    "no password supplied",
    "authentication failed",
    "no pg_hba.conf entry",
    "no such user",
    "certificate authentication failed",
)
WRONG = ("does not exist", "invalid", "no such database")
SLOW = "57014"
HELD = "55P03"
NOT_PERMITTED = ("42501", "3F000")
OVER_BUDGET = "KN001"
"""Raised by knit's own trigger."""

RIGHTS = (
    "the user needs rights on all knit_ tables, sequences and views, "
    "and to make them at the first start and at upgrades"
)
KINDS: dict[str, tuple[type[KnitError], str]] = {
    "22": (Misconfigured, "PostgreSQL refused a value"),
    "23": (Misconfigured, "PostgreSQL refused a value"),
    "28": (ServerDenied, "PostgreSQL does not accept the login in KNIT_DB_URL"),
    "3D": (ServerDenied, "KNIT_DB_URL"),
    "42": (Misconfigured, "the database is not as knit left it"),
    "54": (Misconfigured, "names, keys or paths are too long for PostgreSQL to index"),
}


def in_our_words(error: psycopg.Error) -> KnitError:
    """The knit error for an error of psycopg, by its SQL state (PostgreSQL manual, appendix A).

    Raises the error itself when it is a mistake in our own code, not a state of the server.
    """
    state = error.sqlstate
    if state is None:
        return _connecting(error)
    text = _server_text(error)
    if state in (SLOW, HELD):
        return (RowHeld if state == HELD else Outage)(f"PostgreSQL did not answer in time ({text})")
    if state == OVER_BUDGET:
        return _over_budget(error)
    if state in NOT_PERMITTED:
        return NotPermitted(f"PostgreSQL: {text}; {RIGHTS}")
    kind, words = KINDS.get(state[:2], (Outage, "PostgreSQL"))
    return kind(f"{words}: {text} ({state})")


def _over_budget(error: psycopg.Error) -> OverBudget:
    from knit.core.budget import BucketKey, said
    from knit.core.limits import Limit

    told = json.loads(error.diag.message_detail or "{}")
    text = said(BucketKey("", Limit(told["limit"]), told["subject"]))
    return OverBudget(text, retry_at=datetime.fromisoformat(told["until"]))


def _connecting(error: psycopg.Error) -> KnitError:
    """While connecting there is only a text of libpq's: the host, the user, the server's own words.

    What the server says (FATAL) may be otherwise tomorrow, for it is set there; what libpq says of the DSN may not.
    """
    if not isinstance(error, psycopg.OperationalError):
        raise error
    text = _one_line(str(error))
    if any(words in text for words in REJECTED):
        return ServerDenied(f"PostgreSQL does not accept the login in KNIT_DB_URL: {text}")
    if "FATAL:" in text and any(words in text for words in WRONG):
        return ServerDenied(f"KNIT_DB_URL: {text}")
    unresolved = text.startswith("failed to resolve host")
    if not unresolved and any(words in text for words in WRONG):
        return Misconfigured(f"KNIT_DB_URL: {text}")
    return Outage(f"PostgreSQL: {text}")


def _server_text(error: psycopg.Error) -> str:
    """The primary message only: detail and context may quote values."""
    return _one_line(error.diag.message_primary or str(error) or type(error).__name__)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
