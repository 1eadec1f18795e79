"""The published side of the certificate Valkey, and what ties it to one database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from knit.core.installation import Installation
from knit.core.model.certificate import CertId

NewValue = tuple[str, bytes, str]
"""Something to publish: valkey_key, the JSON, and the token of what it is to replace."""


class Holder(NamedTuple):
    """A certificate that counts as published under some key, with the pair of this hash."""

    cert_id: CertId
    sha256: str

    def keeps(self, sha256: str, cert_id: CertId) -> bool:
        """Whether a value with this hash is this certificate's, and not that of `cert_id`."""
        return self.sha256 == sha256 and self.cert_id != cert_id


class Home(Protocol):
    """What this database keeps about the certificate Valkey that belongs to it."""

    def known(self) -> Installation:
        """The id of this installation."""

    def settled(self, place: str, revision: int) -> None:
        """The Valkey at this place carries our id, and its change feed is at this revision."""

    def publishes(self) -> bool:
        """Whether anything counts as published."""

    def unexplained(self, tokens: Mapping[str, str]) -> Mapping[str, datetime]:
        """Exactly these keys hold values that nothing explains; gives since when each has held these bytes."""

    def compromised(self) -> frozenset[str]:
        """Hashes of the public halves of keys that must never be published."""

    def without_fingerprint(self) -> frozenset[str]:
        """Valkey keys of published certificates whose key's hash is not recorded."""

    def record_fingerprints(self, by_sha256: Mapping[str, str]) -> None:
        """The hashes of the public halves, by the hash of the published pair."""


class Stored(NamedTuple):
    """What a key of the certificate Valkey holds. `token` tells one state of it from every other.

    It is the generation of a value that has one, `#` and a hash of the bytes of any other, "" where nothing is.
    `raw` is empty where no string is.
    """

    token: str
    raw: bytes


class Survey(NamedTuple):
    """The index's members, those of them that have no value, and the change feed's revision."""

    members: frozenset[str]
    missing: frozenset[str]
    revision: int


class Publication(Protocol):
    """The published side of the certificate Valkey, written in the name of one installation.

    Every write raises ForeignValkey, with nothing written, when the Valkey does not carry this installation's id.
    """

    @property
    def place(self) -> str:
        """Host, port and database number."""

    def installation(self) -> str | None:
        """The id of the installation whose values these are, or None before there is one."""

    def claim(self, found: str | None) -> bool:
        """Write our id in place of the one that was found there; False when there is another one by now."""

    def rehearse(self, key: str) -> None:
        """Find out whether a value could be published under this key, without publishing anything.

        Raises Refused or CredentialsRejected, naming the missing right or the mode of the server, or Unreachable.
        """

    def live(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The raw values at these keys; absent ones are left out."""

    def look(self, keys: Sequence[str]) -> Mapping[str, Stored]:
        """What these keys hold now."""

    def publish(self, values: Sequence[NewValue]) -> Sequence[str | None]:
        """Set values, index and change feed in one transaction, each only in place of what its token tells.

        Gives for each None when done, or the token found there when it is another one (nothing is written then).
        """

    def exchange(self, values: Sequence[NewValue]) -> bool:
        """Write all of them or none; False when one of the tokens was another."""

    def survey(self) -> Survey:
        """What the index says (one round trip)."""

    def prune(self, tokens: Mapping[str, str]) -> frozenset[str]:
        """Remove the values at these keys with their index members and change-feed entries, in one transaction.

        Each only while it is what its token tells. Gives the keys at which nothing is left.
        """
