"""One try to get one certificate, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from knit.core.model.certificate import CertId, CertSpec, Issued, Leaf
from knit.core.model.keys import KeyType

AttemptId = NewType("AttemptId", int)


class Step(StrEnum):
    """How far an attempt got. Each is written before the effect it allows.

    planned -> key_staged -> ordered -> finalizing -> issued -> publishing -> published;
    failed and abandoned end an attempt.
    """

    PLANNED = "planned"
    KEY_STAGED = "key_staged"
    ORDERED = "ordered"
    FINALIZING = "finalizing"
    ISSUED = "issued"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    FAILED = "failed"
    ABANDONED = "abandoned"


BEFORE_FINALIZE = frozenset({Step.PLANNED, Step.KEY_STAGED, Step.ORDERED})
"""No certificate can have been issued yet."""

ENDED = frozenset({Step.PUBLISHED, Step.FAILED, Step.ABANDONED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to get one certificate, from the plan to the published value or the failure.

    `waits_for` is the lock that it met taken when it was last gone on with; `replaces`, the certificate in whose place
    it asks for another (RFC 9773 section 4.1), unless its CA will not have that. `holding`: it has not given back what
    it may yet cost of the CA's limits. `order_expires`: its order cannot be finalized any more after that.
    """

    id: AttemptId
    cert_id: CertId
    step: Step
    reason: str
    names: tuple[str, ...]
    provider: str
    issuer: str
    directory: str
    key_type: KeyType
    profile: str | None
    preferred_chain: str | None = None
    order_url: str | None = None
    order_expires: datetime | None = None
    spki_sha256: str | None = None
    starts: int = 1
    started_at: datetime
    waits_for: str | None = None
    replaces: str | None = None
    holding: bool = True

    @property
    def admitted(self) -> bool:
        """Whether it has room in the CA's limits: at the CA, which has given it an order, or here."""
        return self.holding or self.order_url is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An attempt whose bundle waits to be published, with what is wanted and what is published now.

    `leaf` and `sha256` are what the bundle was found to be when it was handed over; None in an attempt that an older
    knit handed over. `generation` is the one under which its publication began, if it did. `compromised`: its key must
    not be published. `tries` is how often in a row it was not what it should be.
    """

    attempt: Attempt
    spec: CertSpec | None
    issued: Issued | None
    leaf: Leaf | None
    sha256: str | None
    generation: int | None
    compromised: bool = False
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRequest:
    """What an issuer is asked for. With `order_url` it goes on with that order instead of making a new one.

    `finalized`: the request may have been sent for that order, so it may have cost a certificate already. `overdue`:
    that is so long ago that the CA's limits no longer count it. `replaces` is said of a new order, where the CA offers
    renewal information.
    """

    names: tuple[str, ...]
    csr_der: bytes
    cert_id: CertId | None = None
    profile: str | None = None
    preferred_chain: str | None = None
    order_url: str | None = None
    finalized: bool = False
    overdue: bool = False
    replaces: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The attempt reached `issued`: the bundle waits to be published. `leftovers`: TXT values are left to remove."""

    cert_id: CertId
    attempt_id: AttemptId
    leftovers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Nothing was done, for this reason. `until` is when to look again, where that is known.

    `busy`: it is another worker's, alive or dead.

    `queued`: there was no room for a retry here, and its turn comes.

    `full`: its issuer has as many orders in flight, over all workers, as it is to have.
    """

    cert_id: CertId
    reason: str
    until: datetime | None = None
    busy: bool = False
    queued: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed; it was recorded, and the next try is at `retry_at` (None: not before a change)."""

    cert_id: CertId
    error: str
    retry_at: datetime | None


Outcome = Renewed | Skipped | Failed
