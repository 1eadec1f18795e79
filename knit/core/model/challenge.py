"""DNS-01 challenges and the TXT records that answer them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from knit.core.model.certificate import CertId

ChallengeId = NewType("ChallengeId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One DNS-01 challenge (RFC 8555 section 8.4) as the CA gave it.

    `value` is the TXT value for `_acme-challenge.<identifier>`; token and key authorization are kept because
    some solvers (exec in RAW mode) take those instead. `identifier` has no `*.`.
    """

    identifier: str
    value: str
    token: str
    key_authorization: str

    @property
    def name(self) -> str:
        """The owner name of the TXT record before any delegation, without trailing dot."""
        return f"_acme-challenge.{self.identifier}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One TXT value at its final place: `fqdn` is where the CNAME chain ends, `zone` the zone cut above it.

    Both are absolute without the trailing dot, lower case.
    """

    challenge: Challenge
    fqdn: str
    zone: str

    @property
    def value(self) -> str:
        """The TXT value."""
        return self.challenge.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A TXT record the journal knows as set and not yet removed. `state` is what the solver asked to remember."""

    id: ChallengeId
    cert_id: CertId
    provider: str
    record: Record
    state: dict[str, str] | None
