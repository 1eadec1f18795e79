"""A look from outside: which certificate a server shows to those who connect to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from knit.core.model.places import Probe


class KeyKind(StrEnum):
    """Kinds of keys of which a server may have one certificate each, for the same name on the same port."""

    EC = "ec"
    RSA = "rsa"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The leaf that a server showed, whether or not anybody would trust it.

    `fingerprint` is the SHA-256 of its DER, and `serial` its serial number, both in lower-case hexadecimal digits.
    `address` is where it was seen: the address and port that were connected to.
    """

    fingerprint: str
    serial: str
    not_after: datetime
    address: str


class Prober(Protocol):
    """Connects, shakes hands and looks. It never tries again by itself."""

    def served(self, probe: Probe, *, server_name: str | None, key_kind: KeyKind | None = None) -> Served:
        """What is shown to who asks for `server_name` (SNI); None: who names nobody, as for an IP address.

        Where a server has certificates with keys of several kinds, the one of `key_kind`; if there is none of that
        kind, what is shown instead. Raises Transient, within some ten seconds, where nothing can be seen.
        """

    def close(self) -> None:
        """Enough was looked at: give up what was held for the next look."""
