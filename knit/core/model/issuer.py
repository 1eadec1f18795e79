"""Who issues, and as whom we are known there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

UNNAMED = "acme"
"""The issuer of a certificate that names none, as all do that the Go knit has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An ACME account, bound to the directory it was registered at.

    `private_key` is PEM. `uri` is None while only the key exists: it is stored before the CA hears of it, so that
    a crash registers the same key again instead of a second account. `registration` is the JSON text the CA gave
    (in the original's table: lego's `{"body": ..., "uri": ...}`), "" when there is none.
    """

    directory: str
    issuer: str
    email: str
    private_key: str = field(repr=False)
    uri: str | None = None
    registration: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who an issuer is: the name that certificates ask for, what kind it is, and its ACME directory."""

    name: str
    kind: str = "acme"
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One issuer, and since when it has been this one."""

    name: str
    kind: str
    directory: str
    since: datetime
