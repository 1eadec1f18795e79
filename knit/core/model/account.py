"""As whom we are known to CAs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An ACME account, bound to the directory it was registered at.

    `private_key` is PEM. `uri` is None while only the key exists: it is stored before the CA hears of it, so that
    a crash registers the same key again instead of a second account. `registration` is the JSON text the CA gave
    (in the original's table: lego's `{"body": ..., "uri": ...}`), "" when there is none.

    `next_key` (PEM) is to take the key's place: while it is there, the CA may know either. `deactivated_at`: since when
    it is not to be used any more.
    """

    directory: str
    issuer: str
    email: str
    private_key: str = field(repr=False)
    uri: str | None = None
    registration: str = ""
    next_key: str | None = field(default=None, repr=False)
    deactivated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKept:
    """What is known of an account without its key. `sealed_by`: id of the key that has sealed it; None: in clear."""

    directory: str
    issuer: str
    email: str
    uri: str | None
    sealed_by: str | None
    deactivated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One account key after it was to be sealed. `result`: `sealed`, `sealed already` or `left as it was`."""

    issuer: str
    directory: str
    table: str
    result: str
