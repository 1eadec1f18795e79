"""What happens to certificates and to what they need, in the words of the log, of `knit show` and of the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from knit.core.model.attempt import AttemptId
from knit.core.model.certificate import CertId

KEPT = "what is published stays"
"""What lines about failures say of the certificate that nodes have."""

NOTHING: Mapping[str, object] = MappingProxyType({})


class Kind(StrEnum):
    """Kinds of events; the value is the word in PostgreSQL and in the log."""

    CERTIFICATE_ADDED = "certificate added"
    CERTIFICATE_CHANGED = "certificate changed"
    CERTIFICATE_ENABLED = "certificate enabled"
    CERTIFICATE_DISABLED = "certificate disabled"
    CERTIFICATE_REMOVED = "certificate removed"
    RENEWAL_REQUESTED = "renewal requested"
    RENEWAL_STARTED = "renewal started"
    RENEWAL_RESUMED = "renewal resumed"
    KEY_STAGED = "key staged"
    ORDER_PLACED = "order placed"
    VALIDATION_REQUESTED = "validation requested"
    VALIDATION_FAILED = "validation failed"
    ORDER_FINALIZING = "order finalizing"
    CERTIFICATE_ISSUED = "certificate issued"
    CERTIFICATE_PUBLISHING = "certificate publishing"
    CERTIFICATE_PUBLISHED = "certificate published"
    RENEWAL_POSTPONED = "renewal postponed"
    RENEWAL_FAILED = "renewal failed"
    RENEWAL_ABANDONED = "renewal abandoned"
    REPLACEMENT_REFUSED = "replacement refused"
    WINDOW_MOVED = "renewal window moved"
    WINDOW_PAST = "renewal asked for at once"
    VALUE_ADOPTED = "published value adopted"
    VALUE_MOVED = "published value moved"
    VALUE_WITHDRAWN = "published value withdrawn"
    CA_PAUSED = "CA paused"
    CA_PAUSE_OVER = "CA pause over"
    ISSUER_FIRST_USED = "issuer first used"
    ISSUER_SWITCHED = "issuer switched"
    ACCOUNT_KEY_MADE = "account key made"
    ACCOUNT_REGISTERED = "account registered"
    ACCOUNT_FORGOTTEN = "account forgotten"
    ACCOUNT_KEY_CHANGED = "account key changed"
    ACCOUNT_CONTACT_CHANGED = "account contact changed"
    ACCOUNT_DEACTIVATED = "account deactivated"
    CERTIFICATE_IMPORTED = "certificate imported"
    IMPORT_FAILED = "import failed"
    IMPORT_ABANDONED = "import abandoned"
    CERTIFICATE_EXPIRING = "certificate expires soon"
    CERTIFICATE_EXPIRED = "certificate expired"
    KEY_COMPROMISED = "key declared compromised"
    REVOCATION_REQUESTED = "revocation requested"
    REVOCATION_FAILED = "revocation failed"
    REVOCATION_REFUSED = "revocation refused"
    CERTIFICATE_REVOKED = "certificate revoked"
    VALKEY_CLAIMED = "valkey claimed"
    NODE_FIRST_SEEN = "node first seen"
    NODE_SILENT = "node silent"
    NODE_BACK = "node back"
    NODE_FORGOTTEN = "node forgotten"
    NODE_REPORT_REFUSED = "node report refused"
    DEPLOYMENT_FAILED = "deployment failed"
    CERTIFICATE_SERVED = "certificate served"
    # Told by processes alone: what is recorded stays as it was.
    PUBLISH_FAILED = "publish failed, will retry"


class Severity(StrEnum):
    """Who should look: nobody, whoever is curious, whoever is on duty."""

    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of knit_events. `actor` is the PostgreSQL session that wrote, or whom it acted for; no secret anywhere.

    `kind` is a Kind's value, or a word of a newer knit that writes to the same database. `detail` of a change holds
    {field: [before, after]}.
    """

    id: int
    at: datetime
    kind: str
    severity: Severity
    cert_id: CertId | None
    attempt_id: AttemptId | None
    actor: str
    detail: Mapping[str, object] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What has just happened, as whoever did it tells this process. No secret anywhere."""

    kind: Kind
    severity: Severity = Severity.INFO
    cert_id: CertId | None = None
    attempt_id: AttemptId | None = None
    detail: Mapping[str, object] = field(default_factory=lambda: NOTHING)
