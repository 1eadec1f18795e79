"""What a decision is made from, and what it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from knit.core.model.attempt import Attempt, AttemptId
from knit.core.model.certificate import CertId, CertSpec, Issued, names_in
from knit.core.model.issuer import UNNAMED, Asked, Identity, Terms
from knit.errors import Misconfigured


class Reason(StrEnum):
    """Why a certificate is due."""

    NEVER_ISSUED = "never issued"
    NOT_PUBLISHED = "published value is missing or damaged"
    NAMES_CHANGED = "wanted names differ from the issued ones"
    ISSUER_CHANGED = "wanted issuer differs"
    DIRECTORY_CHANGED = "ACME directory changed"
    KEY_TYPE_CHANGED = "wanted key type differs"
    PROFILE_CHANGED = "wanted profile differs"
    CHAIN_CHANGED = "wanted chain differs"
    REQUESTED = "renewal was requested"
    UNFINISHED = "an attempt is unfinished"
    WINDOW = "renewal window has begun"
    ARI = "the CA's suggested renewal time has come"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertState:
    """All that is known about one certificate beside what is wanted.

    issued          what was published last; None before the first
    attempt         its open attempt; None while none is under way
    failures        failed attempts since the last success
    retry_at        the earliest next try; None when nothing has to be waited for
    ari_at          the instant chosen once inside the CA's suggested window (RFC 9773 section 4.2)
    ari_checked_at  when the CA last said that window
    ari_again_at    before it, the CA's instant may not make the renewal earlier than the first third of its life: this
                    certificate was renewed often lately
    unreplaced      the CA has refused an order that said it was to replace what is issued (RFC 9773 section 5)
    published       its value is live, as far as is known; True also while nothing is issued
    reorder_at      when a lost value may be ordered anew again, once that was done as often as it may be
    """

    issued: Issued | None = None
    attempt: Attempt | None = None
    failures: int = 0
    retry_at: datetime | None = None
    ari_at: datetime | None = None
    ari_checked_at: datetime | None = None
    ari_again_at: datetime | None = None
    unreplaced: bool = False
    published: bool = True
    reorder_at: datetime | None = None


NOTHING = CertState()
"""What is known of a certificate that nothing was ever tried for."""


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
        """The certificate's id."""
        return self.spec.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A certificate that nothing was ever issued, tried or asked for: it is due, whatever else is said of it.

    After an import they are many, so no more is known of each than a pass needs. `asked` as in Candidate.
    """

    cert_id: CertId
    names_key: str
    issuer: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting:
    """A certificate that a pass does not look at before `until`; `why`, where it is not only that it is not due."""

    cert_id: CertId
    names_key: str
    until: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How many certificates there are, and how many fail. `next_pass` is None when no scheduler runs."""

    at: datetime
    certificates: int
    failing: int
    next_pass: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that Postgres knows of one certificate. `spec` is None once it is removed, or while it is not adopted.

    `newest` is its last attempt, ended or not: what is decided from this holds while there is no newer one.
    `issuers` says by name what each issuer is that has been used. `tries` is how often in
    a row the open attempt has been put off, from its finalization on; `refused`, that what the CA issued in it was
    not fit to be published when it was last looked at. `pauses`: some CA has asked to be left alone for a while.
    """

    spec: CertSpec | None
    state: CertState
    leftovers: bool
    newest: AttemptId | None
    issuers: Mapping[str, Identity] = field(default_factory=dict)
    tries: int = 0
    refused: bool = False
    pauses: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Finalized orders that were lost. `until`: this certificate has lost as many as it may in a week, and waits.

    `begun` is how many orders of all certificates were begun in the last hour in place of what was lost, or because of
    something else than time; `enabled`, how many certificates there are.
    """

    until: datetime | None
    begun: int
    enabled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A CA has said "too many requests" and is left alone. `said` is its own sentence."""

    until: datetime
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Renew now, for this reason."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing before `until`, for this reason."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a certificate is due by its dates, whoever issues it."""

    threshold: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a process decides by: the issuers that it was configured with, and the policy for all certificates.

    `default` names the issuers of certificates that name none; where it is empty, that is the first one.
    """

    issuers: tuple[Terms, ...]
    default: tuple[str, ...] = ()
    policy: Policy = Policy()

    def terms(self, issuer: str) -> Terms | None:
        """The terms of the issuer of this name; None when this process knows no such issuer."""
        return next((terms for terms in self.issuers if terms.name == issuer), None)

    def named(self, issuer: str | None) -> Terms:
        """The terms of the issuer that a person names; without a name, of the first that issues what names none.

        Raises Misconfigured.
        """
        terms = self.terms(self._default[0] if issuer is None else issuer)
        if terms is None:
            known = ", ".join(one.name for one in self.issuers)
            raise Misconfigured(f"no issuer is called {issuer!r}; configured: {known}")
        return terms

    def terms_of(self, spec: CertSpec) -> tuple[Terms, ...]:
        """The terms of the issuers that this certificate may come from, in order; without those not known here."""
        return self.terms_named(spec.issuer)

    def terms_named(self, issuer: str) -> tuple[Terms, ...]:
        """The terms of the issuers that a row names, as `terms_of`."""
        found = (self.terms(name) for name in self._names(names_in(issuer)))
        return tuple(terms for terms in found if terms is not None)

    def at(self, directory: str, issuer: str) -> Terms | None:
        """The terms of an issuer with this directory, whatever its name here; of this name, if one of several is."""
        here = [terms for terms in self.issuers if terms.directory == directory]
        return next((terms for terms in here if terms.name == issuer), here[0] if here else None)

    def is_staging(self, directory: str) -> bool:
        """Whether what comes from there is for trials. Of a directory that is not known here nobody can say so."""
        return any(terms.staging for terms in self.issuers if terms.directory == directory)

    def asked(self, spec: CertSpec, directory: str) -> Asked | None:
        """What is asked at this directory for this certificate; None when it may not come from there."""
        found = next((terms for terms in self.terms_of(spec) if terms.directory == directory), None)
        return None if found is None else found.asked(spec)

    def _names(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """Rows from before there were several issuers say UNNAMED; where none is called so, it says no more than ""."""
        if UNNAMED not in named or self.terms(UNNAMED) is not None:
            return named or self._default
        return tuple(one for name in named for one in (self._default if name == UNNAMED else (name,)))

    @property
    def _default(self) -> tuple[str, ...]:
        return self.default or tuple(terms.name for terms in self.issuers[:1])

    @property
    def fingerprint(self) -> str:
        """Changes whenever stored renewal instants must be worked out anew."""
        threshold = self.policy.threshold
        known = sorted(one.fingerprint for one in self.issuers)
        if len(self.issuers) > 1:
            known.append(f"default={','.join(self._default)}")
        return f"{' '.join(known)} {'' if threshold is None else int(threshold.total_seconds())}"
