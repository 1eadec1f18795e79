"""What a pass and a publication need to know of the whole list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from knit.core.agenda import Agenda
from knit.core.brake import Pace
from knit.core.imported import Lack
from knit.core.model.attempt import Attempt, AttemptId, Ready
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.model.decision import Candidate, Census, Newcomer, Resting, Rules
from knit.core.value import Parcel
from knit.ports.publication import Holder


class Agendas(Protocol):
    """When a pass is due, on the database's clock."""

    def look(self, since: datetime | None) -> Agenda:
        """What calls for a pass; of planned instants, the first one after `since`. Cheap: asked every few seconds."""

    def announce(self, interval: timedelta) -> None:
        """A pass has been asked for; the next one comes after this interval at the latest."""


class Passes(Protocol):
    """What the reconcile and publish flows need of Postgres."""

    def mend(self) -> Mended:
        """Make good what a hand has done to knit's own rows, so that no certificate is forgotten or waits for ever."""

    def adopt(self) -> int:
        """Normalise rows that other software wrote; give the number left out because they clash with another."""

    def unrecorded(self) -> Iterable[CertSpec]:
        """Enabled certificates about whose published value nothing is recorded, and no attempt is open."""

    def original_account_host(self) -> str | None:
        """Host of the ACME account that the Go knit registered in this database, if it did."""

    def record_adopted(self, issued: Issued, spki_sha256: str, *, before: str | None = None) -> None:
        """Record the facts of a value that was found published.

        `before` is the hash of what is recorded, when something is; nothing is written once that is another one.
        """

    def published_keys(self) -> frozenset[str]:
        """The valkey_keys of enabled certificates that have been published."""

    def published_hashes(self) -> Mapping[str, tuple[str, int, datetime]]:
        """The recorded sha256, generation and end of every published value, by valkey_key."""

    def recorded(self, keys: Iterable[str]) -> Sequence[tuple[CertSpec, Issued]]:
        """Enabled certificates that count as published under one of these keys."""

    def occupied(self, keys: Iterable[str]) -> Mapping[str, Holder]:
        """Which enabled certificate, be it left out or not, counts as published under each of these keys."""

    def pace(self, reasons: Iterable[str], at: datetime) -> Pace:
        """How many orders were begun for one of these reasons in the hour before, or in place of lost ones; of all."""

    def unread(self) -> Sequence[CertId]:
        """Rows of enabled certificates that are new, or were changed, and that no pass has read since."""

    def resting(self, at: datetime) -> Sequence[Resting]:
        """All enabled certificates, and when each is looked at again, as it is at this time."""

    def candidates_of(self, ids: Sequence[CertId]) -> Iterable[Candidate]:
        """These certificates, whatever their schedule says; without those that somebody is working on."""

    def candidates(
        self, rules: Rules, unpublished: Iterable[str], at: datetime | None = None
    ) -> Iterable[Candidate | Newcomer]:
        """Certificates that may be due at this time (now), or have challenge records left to remove.

        A superset, cheap to ask for.

        `unpublished` are valkey_keys whose value is missing: those certificates are always among them, with
        `published` False.
        """

    def orphaned_leftovers(self) -> Sequence[CertId]:
        """Removed or disabled certificates with challenge records to remove, or with an attempt to end."""

    def deep_check_due(self, *, force: bool) -> bool:
        """Whether the last check of every value's content is a day ago; taken as done when True is given."""

    def tidy(self) -> None:
        """Forget what is too old to matter."""

    def tidying_due(self) -> bool:
        """Whether staging was last tidied a day ago; taken as done when True is given."""

    def ended(self) -> Sequence[AttemptId]:
        """Attempts that ended in the last days."""

    def plan_checks(self, untils: Mapping[CertId, datetime], rules: Rules) -> None:
        """Nothing to decide about these certificates before the instant beside each, as long as the rules stay."""

    def asked(self, cert_ids: Sequence[CertId]) -> None:
        """Workers have been sent a message about each of these."""

    def passed(self) -> Census:
        """A pass has been done; gives the list in figures."""

    def ready(self, *, begun: bool) -> Sequence[Ready]:
        """What waits to be published (attempts at issued), and what a worker began to publish 15 s ago and did not end.

        With `begun` also what was begun just now.
        """

    def publishing(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """These parcels are about to be published; gives those that are still this worker's to publish."""

    def record_published(self, parcels: Sequence[Parcel]) -> None:
        """These parcels are published: end their attempts, clear failures and `last_error`."""

    def close(self, attempt: Attempt, *, why: str) -> None:
        """End an attempt whose bundle cannot or need not be published any more."""

    def send_back(self, attempt: Attempt, *, error: BaseException, retry_at: datetime) -> None:
        """What waits is not what was handed over: the next renewal looks at its order again, at `retry_at`.

        One more failure and `last_error`. Does nothing once the attempt has ended.
        """

    def give_up(self, attempt: Attempt, *, error: BaseException, retry_at: datetime | None) -> None:
        """End an attempt whose bundle is of no use: one more failure, the next try if there is one, `last_error`."""

    def complain(self, cert_ids: Sequence[CertId], error: BaseException) -> None:
        """Show why these certificates are not published; nothing else about them changes."""

    def tell_expiry(self, lacks: Mapping[CertId, Lack]) -> frozenset[CertId]:
        """These certificates expire, or have: gives those of whose published certificate that was not told before."""

    def moved(self) -> Sequence[tuple[CertSpec, Issued]]:
        """Enabled certificates whose key or paths differ from what is published."""

    def record_refreshed(self, issued: Issued, before: Issued) -> bool:
        """The value was published again with other metadata.

        False, with nothing recorded, when what is recorded is no longer `before`.
        """

    def wanted_keys(self) -> frozenset[str]:
        """The valkey_keys of all enabled certificates."""

    def removals(self) -> Removals:
        """The valkey_keys of removed and disabled certificates that no enabled one has taken over."""

    def clear_removals(self, keys: Iterable[str], at: datetime) -> None:
        """What was asked for at these keys until then is done; a disabled certificate is no longer published."""


class Mended(NamedTuple):
    """Certificates about which rows were missing or made no sense, and how many other rows made none."""

    certificates: Sequence[CertId]
    others: int


class Removals(NamedTuple):
    """Keys whose values are to be removed, and when (on the database's clock) that was read.

    `suspects` are keys of listed certificates one of whose private keys was declared compromised; `noted` says whether
    values that nothing explains were noted.
    """

    keys: frozenset[str]
    at: datetime
    suspects: frozenset[str] = frozenset()
    noted: bool = False
