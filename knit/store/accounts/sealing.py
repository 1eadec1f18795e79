"""Account keys at rest: AES-256-GCM, by keys that PostgreSQL never sees.

The text form is `sealed:v1:KEYID:BASE64`, with the nonce (12 bytes) before the ciphertext. What is sealed opens only
for the issuer and the directory that it was sealed for, so that no row can stand in for another.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knit.errors import Misconfigured

MARK: Final = "sealed:"
VERSION: Final = "v1"
NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Whose key is sealed. The account of the Go knit, whose table names no directory, has "" there."""

    issuer: str
    directory: str

    @property
    def bound(self) -> bytes:
        """What the seal is bound to: neither text can hold a NUL."""
        return f"{self.issuer}\0{self.directory}".encode()


@dataclass(frozen=True, slots=True)
class Seal:
    """The keys (32 bytes each) of this process: the first seals, all open. Without any, nothing is sealed."""

    keys: Sequence[bytes] = field(default=(), repr=False)

    def close(self, text: str, ref: AccountRef) -> str:
        """The text as it is kept."""
        if not self.keys:
            return text
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(self.keys[0]).encrypt(nonce, text.encode(), ref.bound)
        return f"{MARK}{VERSION}:{key_id(self.keys[0])}:{b64encode(sealed).decode()}"

    def open(self, kept: str, ref: AccountRef) -> str:
        """The text that was kept, sealed or in clear. Raises Misconfigured where no key here opens it."""
        if not kept.startswith(MARK):
            return kept
        version, wanted, encoded = (*kept.removeprefix(MARK).split(":"), "", "")[:3]
        key = next((one for one in self.keys if key_id(one) == wanted), None)
        if version != VERSION or key is None:
            raise Misconfigured(_lacking(ref, wanted, version, some=bool(self.keys)))
        try:
            sealed = b64decode(encoded, validate=True)
            return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], ref.bound).decode()
        except (ValueError, InvalidTag):
            message = (
                f"{_whose(ref)} cannot be opened: it was altered, or sealed for another issuer or directory; "
                "restore its row, or have `knit account forget --new-key` make another key"
            )
            raise Misconfigured(message) from None

    def is_current(self, kept: str) -> bool:
        """Whether this is as `close` would keep it now, as far as can be told without opening it."""
        return sealed_by(kept) == (key_id(self.keys[0]) if self.keys else None)


def sealed_by(kept: str) -> str | None:
    """The id of the key that has sealed it; None for what lies in clear."""
    return kept.split(":")[2] if kept.startswith(MARK) and kept.count(":") > 2 else None


def key_id(key: bytes) -> str:
    """Tells keys apart, and gives nothing of them away."""
    return sha256(b"knit account key seal\0" + key).hexdigest()[:12]


def _whose(ref: AccountRef) -> str:
    return f"the account key of issuer {ref.issuer}" if ref.directory else "the account key of the Go knit's table"


def _lacking(ref: AccountRef, wanted: str, version: str, *, some: bool) -> str:
    if version != VERSION:
        return f"{_whose(ref)} is sealed in a form that this knit does not know ({version[:12]!r}): use a newer one"
    why = "which KNIT_SECRET_KEY does not hold" if some else "and KNIT_SECRET_KEY is not set"
    return f"{_whose(ref)} is sealed with key {wanted[:12]}, {why}: nothing is ordered, or registered, without it"
