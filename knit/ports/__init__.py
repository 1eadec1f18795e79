"""Every seam of knit as a Protocol. The docstring is the contract; each implementation passes its contract suite.

Unless said otherwise a method may block for as long as its adapter's own timeouts allow, raises only errors of
`knit.errors`, and may be called again after a crash with the same arguments to the same effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from knit.core.agenda import Agenda
from knit.core.installation import Installation
from knit.core.model import (
    Account,
    Attempt,
    AttemptId,
    Bundle,
    Candidate,
    Census,
    CertId,
    CertSpec,
    Challenge,
    ChallengeId,
    Issued,
    IssueRequest,
    Known,
    Leaf,
    Leftover,
    Losses,
    Newcomer,
    Pause,
    Ready,
    Reason,
    Record,
    Rules,
    Terms,
    Wait,
)
from knit.core.value import Parcel
from knit.core.wanted import Edited, Wanted
from knit.errors import AccountLimited, OrderLost, Transient

Clock = Callable[[], datetime]
"""Returns the current time, aware, UTC."""

NewValue = tuple[str, bytes, str]
"""Something to publish: valkey_key, the JSON, and the token of what it is to replace."""

Sleep = Callable[[float], None]
"""Waits so many seconds, or raises Interrupted as soon as the process is told to stop."""


class Lease(Protocol):
    """The exclusive right to work on one thing, with a fencing number that only grows.

    `at` is when it was taken, on the database's clock.
    """

    @property
    def name(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def at(self) -> datetime: ...

    def check(self) -> None:
        """Raise LeaseLost when the lease is known to have passed to another owner."""


class Leases(Protocol):
    """Leases on the database's clock, kept alive in the background while held."""

    def hold(self, name: str) -> AbstractContextManager[Lease | None]:
        """Take the lease, or give None at once while another owner holds it. Released on exit."""


class Journal(Protocol):
    """One attempt's journal, written by the issuer and the solver while they work.

    Every method but `removed` commits before it returns, and raises LeaseLost instead of writing once another worker
    has taken over. Each is called before the effect it allows.
    """

    def ordered(self, order_url: str) -> None:
        """The CA has given this order; nothing has been asked of it yet."""

    def presenting(self, record: Record) -> ChallengeId:
        """This TXT value is about to be set. The same value of the same attempt gives the same id."""

    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None:
        """It was set; `state` is what the solver needs to remove it. Not called when it needs nothing."""

    def removed(self, challenge: ChallengeId) -> None:
        """It was removed by exact value. Committed with the next step, or at the end: it allows nothing."""

    def check(self) -> None:
        """Raise LeaseLost when another worker may have taken over: nothing it relies on may be removed any more."""

    def finalizing(self) -> None:
        """The CSR is about to be sent."""


class OpenJournal(Journal, Protocol):
    """A journal as whoever opened it sees it."""

    def validating(self, names: Sequence[str], most: int) -> None:
        """The CA is about to look for proofs of these names: counted as failed until `finalizing` tells otherwise.

        Raises RateLimited while one of them would have failed more than `most` times within an hour.
        """

    def leaves_records(self) -> bool:
        """Whether a TXT value was set, or perhaps set, and not removed."""

    def close(self) -> None:
        """Commit what is not committed. Called at the end, however that came about; raises nothing."""


class Delegation(Protocol):
    """Where a challenge name really lives, and who can see it: asked of the DNS itself."""

    def locate(self, challenge: Challenge) -> Record:
        """Follow CNAMEs from the challenge's name, then find the zone cut. Raises Transient or Refused."""

    def wait_visible(self, records: Sequence[Record], *, timeout: float, interval: float) -> None:
        """Return when every record is seen on every server that the settings say must show it.

        Raises NotVisible at the deadline (seconds, monotonic), naming which server answered what.
        """


class Prover(Protocol):
    """Proves control of names by DNS-01, in as few rounds as the DNS provider allows."""

    def rounds(self, challenges: Sequence[Challenge]) -> Sequence[Sequence[Challenge]]:
        """The challenges in groups that can be proved at the same time; usually all in one."""

    def proving(self, challenges: Sequence[Challenge]) -> AbstractContextManager[None]:
        """Set all values, wait until all are visible, yield; remove them all by exact value on the way out."""


class Issuer(Protocol):
    """Turns a CSR into a chain."""

    name: str
    directory: str
    roots: bytes
    """PEM: whose signature alone makes a certificate whole. Empty: a certificate comes with its issuer's."""

    def issue(self, request: IssueRequest, journal: Journal, prover: Prover) -> bytes:
        """Return the full chain, leaf first, PEM.

        Goes on with `request.order_url` when given (and makes a new order, journalled, only when the CA no
        longer knows that order or says it is invalid). At most one finalize per order.
        Raises AccountLimited, Unreachable, NotVisible, Interrupted, IdentifierRejected, CredentialsRejected. Once the
        CSR may have been sent, what does not say in the CA's own words that the order is over is OrderKept.
        """


class Issuers(Protocol):
    """Finds the issuer a certificate asks for."""

    def issuer(self, name: str) -> Issuer:
        """Raises Misconfigured for a name that is not configured."""


class Accounts(Protocol):
    """The ACME accounts in Postgres, one for each directory and issuer."""

    def get(self, directory: str, issuer: str) -> Account | None: ...

    def save(self, account: Account) -> None:
        """Insert it, or replace the one of the same directory and issuer. Called with the account's lease held."""

    def original(self) -> Account | None:
        """The account the original Go knit registered, with `directory` "" because its table does not tell."""


class Staging(Protocol):
    """Keys, and then whole bundles, between the attempt that made them and their publication."""

    def put(self, attempt: AttemptId, bundle: Bundle) -> None:
        """Keep the bundle durably (an empty fullchain while only the key exists)."""

    def get(self, attempt: AttemptId) -> Bundle | None:
        """What was put, or None when it is gone."""

    def bundles(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, Bundle]:
        """Those that are there and have a chain, in one round trip."""

    def discard(self, attempts: Iterable[AttemptId]) -> None:
        """Forget them."""


class Retries(Protocol):
    """The share of this process's threads that renewals which have failed before may have."""

    def room(self, cert_id: CertId) -> AbstractContextManager[bool]:
        """Whether there is room for this one, which is taken until the end."""

    def line_up(self, cert_id: CertId) -> None:
        """It found no room, and its message is owed: its turn comes."""

    def freed(self) -> CertId | None:
        """The next one whose turn has come."""


class Agendas(Protocol):
    """When a pass is due, on the database's clock."""

    def look(self, since: datetime | None) -> Agenda:
        """What calls for a pass; of planned instants, the first one after `since`. Cheap: asked every few seconds."""

    def announce(self, interval: timedelta) -> None:
        """A pass has been asked for; the next one comes after this interval at the latest."""


class CertList(Protocol):
    """The list of what is wanted, as whoever edits it sees it."""

    def edit(self, which: CertId | Sequence[str], decide: Callable[[Wanted | None], Wanted], *, enable: bool) -> Edited:
        """Find the entry by its id or its exact set of names, ask `decide` what it shall be, and store that.

        Nobody else edits the list meanwhile. `decide` gets None when no entry has these names; one is made then.
        Raises what `decide` raises, Misconfigured when names, key or files belong to another certificate, and
        NoSuchCertificate for an id that is not there; nothing is changed then.
        """


class IssuerMemory(Protocol):
    """Where each issuer's certificates come from, as PostgreSQL remembers it from its first use on."""

    def recall(self, issuer: str) -> str | None:
        """The directory, or None before the first use."""

    def remember(self, terms: Terms) -> str:
        """This issuer is about to be used for the first time; gives the directory of whoever was first."""

    def corrected(self, terms: Terms) -> bool:
        """Whether this directory now stands instead of one that has failed and never had an account or a certificate.

        What never was a CA is nothing to hold on to: a typing error, most likely.
        """


class Store(Protocol):
    """The journal side of Postgres that flows use. Times are the database's own clock unless passed in."""

    def hold(self, cert_id: CertId) -> AbstractContextManager[tuple[Lease, Known] | None]:
        """Take the certificate's lease, as `Leases.hold` does, and read what is wanted and known, in one statement.

        Raises NoSuchCertificate for an id that is no certificate's and has left nothing behind: nothing is written.
        """

    def leftovers(self, cert_id: CertId) -> Sequence[Leftover]:
        """TXT values set for this certificate and not removed."""

    def begin(
        self,
        lease: Lease,
        spec: CertSpec,
        reason: Reason,
        directory: str,
        spki_sha256: str,
        *,
        newest: AttemptId | None,
    ) -> Attempt:
        """Open a new attempt (step planned), counted before any work is done, for the key with this public half.

        `newest` is the certificate's last attempt as far as is known; raises LeaseLost when there is another since.
        """

    def resume(self, lease: Lease, attempt: Attempt) -> Attempt:
        """Take over an open attempt: count one more start, bind it to this lease's epoch."""

    def key_staged(self, lease: Lease, attempt: Attempt, spki_sha256: str) -> None:
        """Another key is in staging, in place of one that was lost before it was of any use."""

    def journal(self, lease: Lease, attempt: Attempt) -> OpenJournal: ...

    def hand_over(self, lease: Lease, attempt: Attempt, leaf: Leaf, sha256: str) -> None:
        """The bundle with this hash is staged and checked: step issued, for publish to go on with.

        The last write under this lease, which is given back by it.
        """

    def fail(self, lease: Lease, attempt: Attempt, *, error: BaseException, retry_at: datetime | None) -> None:
        """End the attempt as failed: its class and text, one more failure, the next try, `last_error`."""

    def postpone(self, lease: Lease, attempt: Attempt, *, error: BaseException, retry_at: datetime) -> None:
        """Leave the attempt open, to be gone on with at `retry_at`.

        One more failure and `last_error`, as for `fail`; but being asked to wait (RateLimited) is no failure, and
        Busy, Interrupted, Outage and ServerDenied are nothing to show either: then it can be gone on with at once. This
        run has ended in order, so `starts` is set back to 0.
        """

    def put_off(self, lease: Lease, spec: CertSpec, terms: Terms, *, why: Transient, retry_at: datetime) -> None:
        """Nothing was begun: show why, and look again at `retry_at`. No failure; only while the CA is this one."""

    def admit(self, cert_id: CertId, terms: Terms) -> Pause | None:
        """The pause that this CA has asked for, if it is not over.

        When it is over, the first certificate to ask gets None, and may try; the others, a pause of a minute, until
        that one has an order or is refused.
        """

    def refused(self, attempt: Attempt, said: AccountLimited) -> int:
        """The CA has said "too many requests": all wait a minute at least. Gives how often in a row it has said so."""

    def pause(self, attempt: Attempt, until: datetime) -> None:
        """They wait until then."""

    def abandon(self, lease: Lease, attempt: Attempt, *, why: str) -> None:
        """End the attempt without counting a failure: it no longer answers what is wanted."""

    def refuse(self, cert_id: CertId, *, error: BaseException, retry_at: datetime) -> None:
        """Nothing could be begun for it: one more failure, the next try, `last_error`."""

    def lose(self, lease: Lease, attempt: Attempt, *, error: OrderLost) -> None:
        """End an attempt whose order is lost, without counting a failure: another takes its place."""

    def losses(self, cert_id: CertId, *, most: int) -> Losses:
        """What was lost lately, of this certificate and of all; this one may lose `most` orders in 7 days."""

    def looked(self, cert_id: CertId, rules: Rules, verdict: Wait) -> None:
        """Nothing to do for this certificate before then, as long as the rules stay the same; and it was looked at.

        Shown as its error where its value is lost and must wait; where nothing is wrong, no error is shown any more.
        """


class PassStore(Protocol):
    """What the reconcile and publish flows need of Postgres."""

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

    def published_hashes(self) -> Mapping[str, tuple[str, int]]:
        """The recorded sha256 and generation of every published value, by valkey_key."""

    def recorded(self, keys: Iterable[str]) -> Sequence[tuple[CertSpec, Issued]]:
        """Enabled certificates that count as published under one of these keys."""

    def occupied(self, keys: Iterable[str]) -> Mapping[str, Holder]:
        """Which enabled certificate, be it left out or not, counts as published under each of these keys."""

    def reordered(self) -> int:
        """How many orders were begun in the last hour because a value was lost."""

    def candidates(self, rules: Rules, unpublished: Iterable[str]) -> Iterable[Candidate | Newcomer]:
        """Certificates that may be due, or have challenge records left to remove; a superset, cheap to ask for.

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

    def wanted(self) -> Sequence[CertSpec]:
        """All enabled, adopted certificates."""

    def ready(self, *, begun: bool) -> Sequence[Ready]:
        """What waits to be published (attempts at issued), and what a worker began to publish 15 s ago and did not end.

        With `begun` also what was begun just now.
        """

    def publishing(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """These are about to be published; gives those that are still this worker's to publish."""

    def record_published(self, parcels: Sequence[Parcel]) -> None:
        """They are published: end their attempts, clear failures and `last_error`."""

    def close(self, attempt: Attempt, *, why: str) -> None:
        """End an attempt whose bundle cannot or need not be published any more."""

    def send_back(self, attempt: Attempt, *, error: BaseException, retry_at: datetime) -> None:
        """What waits is not what was handed over: the next renewal looks at its order again, at `retry_at`.

        One more failure and `last_error`. Does nothing once the attempt has ended.
        """

    def give_up(self, attempt: Attempt, *, error: BaseException, retry_at: datetime) -> None:
        """End an attempt whose bundle is of no use: one more failure, the next try, `last_error`."""

    def complain(self, cert_ids: Sequence[CertId], error: BaseException) -> None:
        """Show why these certificates are not published; nothing else about them changes."""

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


class Holder(NamedTuple):
    """A certificate that counts as published under some key, with the pair of this hash."""

    cert_id: CertId
    sha256: str

    def keeps(self, sha256: str, cert_id: CertId) -> bool:
        """Whether a value with this hash is this certificate's, and not that of `cert_id`."""
        return self.sha256 == sha256 and self.cert_id != cert_id


class Removals(NamedTuple):
    """Keys whose values are to be removed, and when (on the database's clock) that was read.

    `suspects` are keys of listed certificates one of whose private keys was declared compromised; `noted` says whether
    values that nothing explains were noted.
    """

    keys: frozenset[str]
    at: datetime
    suspects: frozenset[str] = frozenset()
    noted: bool = False


class Home(Protocol):
    """What this database keeps about the certificate Valkey that belongs to it."""

    def known(self) -> Installation:
        """This installation."""

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
        """The same for all of them or none; False when one of the tokens was another."""

    def survey(self) -> Survey:
        """What the index says (one round trip)."""

    def prune(self, tokens: Mapping[str, str]) -> frozenset[str]:
        """Remove the values at these keys with their index members and change-feed entries, in one transaction.

        Each only while it is what its token tells. Gives the keys at which nothing is left.
        """


__all__ = [
    "Accounts",
    "CertList",
    "Clock",
    "Delegation",
    "Holder",
    "Home",
    "Issued",
    "Issuer",
    "IssuerMemory",
    "Issuers",
    "Journal",
    "Lease",
    "Leases",
    "NewValue",
    "OpenJournal",
    "PassStore",
    "Prover",
    "Publication",
    "Removals",
    "Sleep",
    "Solver",
    "Solvers",
    "Staging",
    "Store",
    "Stored",
    "Survey",
]
