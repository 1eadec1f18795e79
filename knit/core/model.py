"""The records that everything else passes around: frozen, keyword-only, times always aware."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

PLAIN = "acme"
"""The name of the issuer that the plain variables (KNIT_ACME_...) describe; also in rows that name none."""

CertId = NewType("CertId", int)
AttemptId = NewType("AttemptId", int)
ChallengeId = NewType("ChallengeId", int)


class KeyType(StrEnum):
    """Kinds of certificate keys; the value is the word on the command line and in Postgres."""

    EC256 = "ec256"
    EC384 = "ec384"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"


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


ENDED = frozenset({Step.PUBLISHED, Step.FAILED, Step.ABANDONED})


class Reason(StrEnum):
    """Why a certificate is due."""

    NEVER_ISSUED = "never issued"
    NOT_PUBLISHED = "published value is missing or damaged"
    NAMES_CHANGED = "wanted names differ from the issued ones"
    ISSUER_CHANGED = "wanted issuer differs"
    DIRECTORY_CHANGED = "ACME directory changed"
    KEY_TYPE_CHANGED = "wanted key type differs"
    PROFILE_CHANGED = "wanted profile differs"
    REQUESTED = "renewal was requested"
    UNFINISHED = "an attempt is unfinished"
    WINDOW = "renewal window has begun"
    ARI = "the CA's suggested renewal time has come"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertSpec:
    """One certificate as wanted: a row of knit_certs. `names` are normalised, the first one is primary."""

    id: CertId
    names: tuple[str, ...]
    provider: str
    valkey_key: str
    cert_path: str
    key_path: str
    enabled: bool = True
    issuer: str = PLAIN
    key_type: KeyType = KeyType.EC256
    profile: str | None = None
    preferred_chain: str | None = None
    renew_before: timedelta | None = None
    requested_at: datetime | None = None

    @property
    def names_key(self) -> str:
        """The set of names as one text: what makes a certificate the same certificate."""
        return ",".join(sorted(self.names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What an issued leaf says of itself."""

    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    serial: str
    ari_id: str | None
    spki_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What is published for one certificate, kept apart from what is wanted."""

    cert_id: CertId
    names_key: str
    issuer: str
    directory: str
    key_type: str
    profile: str | None
    serial: str
    ari_id: str | None
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    sha256: str
    generation: int
    valkey_key: str
    cert_path: str
    key_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to get one certificate, from the plan to the published value or the failure."""

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
    order_url: str | None = None
    spki_sha256: str | None = None
    starts: int = 1
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertState:
    """All that is known about one certificate beside what is wanted.

    `failures` counts failed attempts since the last success, `retry_at` is the earliest next try, `ari_at` the
    instant chosen once inside the CA's suggested window (RFC 9773 section 4.2). `reorder_at` is when a lost value may
    be ordered anew again, once that was done as often as it may be.
    """

    issued: Issued | None = None
    attempt: Attempt | None = None
    failures: int = 0
    retry_at: datetime | None = None
    ari_at: datetime | None = None
    published: bool = True
    reorder_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A certificate that a pass looks at closely. `leftovers`: challenge records of it wait to be removed.

    `asked`: an earlier pass has sent workers a message about it, and none has taken it up since.
    """

    spec: CertSpec
    state: CertState
    leftovers: bool = False
    asked: bool = False

    @property
    def cert_id(self) -> CertId:
        """Its certificate."""
        return self.spec.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A certificate that nothing was ever issued, tried or asked for: it is due, whatever else is said of it.

    After an import they are many, so no more is known of each than a pass needs. `asked` as in Candidate.
    """

    cert_id: CertId
    names_key: str
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The list in figures. `next_pass` is None when no scheduler runs."""

    at: datetime
    certificates: int
    failing: int
    next_pass: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that Postgres knows of one certificate. `spec` is None once it is removed, or while it is not adopted.

    `newest` is its last attempt, ended or not: what is decided from this holds while there is no newer one.
    `directory` is where its issuer's certificates come from; None before that issuer's first use. `tries` is how often
    in a row the open attempt has been put off, from its finalization on; `refused`, that what the CA issued in it was
    not fit to be published when it was last looked at.
    """

    spec: CertSpec | None
    state: CertState
    leftovers: bool
    newest: AttemptId | None
    directory: str | None = None
    tries: int = 0
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Finalized orders that were lost. `until`: this certificate has lost as many as it may in a week, and waits.

    `begun` is how many orders of all certificates were begun in the last hour in place of what was lost, `published`
    how many certificates are published.
    """

    until: datetime | None
    begun: int
    published: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A CA has said "too many requests" and is left alone. `said` is its own sentence."""

    until: datetime
    said: str


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
class Bundle:
    """Full chain (leaf first) and private key, both PEM bytes. The key never shows in repr, logs or errors."""

    fullchain: bytes
    privkey: bytes = field(repr=False)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRequest:
    """What an issuer is asked for. With `order_url` it goes on with that order instead of making a new one.

    `finalized`: the request may have been sent for that order, so it may have cost a certificate already. `overdue`:
    that is so long ago that the CA's limits no longer count it.
    """

    names: tuple[str, ...]
    csr_der: bytes
    profile: str | None = None
    preferred_chain: str | None = None
    order_url: str | None = None
    finalized: bool = False
    overdue: bool = False
    replaces: str | None = None


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
class Due:
    """Renew now, because."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing before `until`, because."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The attempt reached `issued`: the bundle waits to be published. `leftovers`: TXT values are left to remove."""

    cert_id: CertId
    attempt_id: AttemptId
    leftovers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Nothing was done, because; `until` when known. `busy`: it is another worker's, alive or dead.

    `queued`: there was no room for a retry here, and its turn comes.
    """

    cert_id: CertId
    reason: str
    until: datetime | None = None
    busy: bool = False
    queued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed; it was recorded, and the next try is at `retry_at` (None: not before a change)."""

    cert_id: CertId
    error: str
    retry_at: datetime | None


Outcome = Renewed | Skipped | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a certificate is due by its dates, whoever issues it."""

    threshold: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who an issuer is: the name that certificates ask for, what kind it is, and its ACME directory."""

    name: str
    kind: str = "acme"
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a process decides by: the issuers that it was configured with, and the policy for all certificates."""

    issuers: tuple[Terms, ...]
    policy: Policy = Policy()

    def terms(self, issuer: str) -> Terms | None:
        """Those of the issuer of this name; None when this process knows no such issuer."""
        return next((terms for terms in self.issuers if terms.name == issuer), None)

    @property
    def fingerprint(self) -> str:
        """Changes whenever stored renewal instants must be worked out anew."""
        threshold = self.policy.threshold
        known = sorted(("" if one.name == PLAIN else f"{one.name}=") + one.directory for one in self.issuers)
        return f"{' '.join(known)} {'' if threshold is None else int(threshold.total_seconds())}"
