"""The journal of attempts: what was begun, how far it got, what it left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from knit.core.budget import WAITS, Cost
from knit.core.choice import Standing
from knit.core.model.attempt import Attempt, AttemptId
from knit.core.model.certificate import CertId, CertSpec, Leaf
from knit.core.model.challenge import ChallengeId, Leftover, Record
from knit.core.model.decision import Known, Losses, Pause, Reason, Rules, Wait
from knit.core.model.issuer import Asked, Terms
from knit.errors import AccountLimited, NotPermitted, OrderLost, Transient
from knit.ports.leases import Lease


class Forgiven(NamedTuple):
    """How often proofs of one name may fail within a time."""

    most: int
    within: timedelta


class Journal(Protocol):
    """One attempt's journal, written by the issuer and the solver while they work.

    Every method but `removed` commits before it returns, and raises LeaseLost instead of writing once another worker
    has taken over. Each is called before the effect it allows.
    """

    def unreplaced(self, why: str) -> None:
        """The CA will not have the order replace what it said: it is asked once more, without that.

        Such an order is counted. Raises OverBudget, with the refusal noted, when the CA's limits leave no room for it.
        """

    def unordered(self) -> None:
        """Its order, which was not finalized, is over: another one is about to be made.

        That one is counted, too. Raises OverBudget, with the first one's end noted, when there is no room for it.
        """

    def ordered(self, order_url: str, expires: datetime | None = None) -> None:
        """The CA has given this order; nothing has been asked of it yet.

        `expires` is when it runs out by the CA's word. Without one, or one that no order has, that is in seven days.
        """

    def presenting(self, record: Record) -> ChallengeId:
        """This TXT value is about to be set. The same value of the same attempt gives the same id."""

    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None:
        """The TXT value was set; `state` is what the solver needs to remove it. Not called when it needs nothing."""

    def removed(self, challenge: ChallengeId) -> None:
        """The TXT value was removed by exact value. Committed with the next step, or at the end: it allows nothing."""

    def check(self) -> None:
        """Raise LeaseLost when another worker may have taken over: nothing it relies on may be removed any more."""

    def finalizing(self) -> None:
        """The CSR is about to be sent."""

    def shares_proofs(self) -> bool:
        """Whether other orders under way at this CA may rely on what this one has proved; true where nobody knows.

        For the CA gives several orders one authorization for the same name (RFC 8555 section 7.1.3).
        """


class OpenJournal(Journal, Protocol):
    """A journal as whoever opened it sees it."""

    def validating(self, names: Sequence[str], forgiven: Forgiven) -> None:
        """The CA is about to look for proofs of these names: counted as failed until `finalizing` tells otherwise.

        Raises RateLimited while one of them would have failed more often than is forgiven.
        """

    def leaves_records(self) -> bool:
        """Whether a TXT value was set, or perhaps set, and not removed."""

    def close(self) -> None:
        """Commit what is not committed. Called at the end, however that came about; raises nothing."""


class Holding(Protocol):
    """One certificate while nobody else works on it: what is wanted and known of it."""

    def hold(self, cert_id: CertId) -> AbstractContextManager[tuple[Lease, Known] | None]:
        """Take the certificate's lease, as `Leases.hold` does, and read what is wanted and known, in one statement.

        None while another worker has it. Raises NoSuchCertificate for an id that is no certificate's and has left
        nothing behind: nothing is written.
        """

    def leftovers(self, cert_id: CertId) -> Sequence[Leftover]:
        """TXT values set for this certificate and not removed."""

    def looked(self, cert_id: CertId, rules: Rules, verdict: Wait) -> None:
        """Nothing to do for this certificate before then, as long as the rules stay the same; and it was looked at.

        Shown as its error where its value is lost and must wait; where nothing is wrong, no error is shown any more.
        """


class Attempts(Protocol):
    """Attempts, from their beginning to their end, and the waits that CAs ask for.

    Times are the database's own clock unless passed in. Every write that takes a lease raises LeaseLost, with nothing
    written, once another worker has taken over.
    """

    def check_rights(self) -> None:
        """Raise NotPermitted, with what is lacking, when our user may not do all that a renewal needs.

        Asked once, and again after `denied`.
        """

    def denied(self, cert_id: CertId, error: NotPermitted) -> None:
        """PostgreSQL has denied us something: shown as this certificate's error, where that can be written."""

    def begin(
        self,
        lease: Lease,
        spec: CertSpec,
        reason: Reason,
        asked: Asked,
        spki_sha256: str,
        *,
        newest: AttemptId | None,
        replaces: str | None = None,
        costs: Sequence[Cost] = (),
        unspared: Sequence[Cost] = (),
        share: float = WAITS,
    ) -> Attempt:
        """Open a new attempt (step planned), counted before any work is done, for the key with this public half.

        `asked` is what its issuer is asked for.

        It takes its tokens with it, of which so large a `share` may be out: each of `costs` is held, and spent once the
        CA has given the order, or issued; what was not spent by its end, or while it waits for its next try, is given
        back. Raises OverBudget, with nothing begun, when there is no room for one of them. `unspared` is what it costs
        where the CA refuses that it `replaces` a certificate.

        `newest` is the certificate's last attempt as far as is known; raises LeaseLost when there is another since.
        """

    def resume(self, lease: Lease, attempt: Attempt) -> Attempt:
        """Take over an open attempt: count one more start, bind it to this lease's epoch.

        It takes the tokens again that it has given back. Raises OverBudget, with nothing written, when there is no room
        for them: never for one that has an order, which has had its room at the CA.
        """

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

    def count_refusal(self, attempt: Attempt, said: AccountLimited) -> int:
        """The CA has said "too many requests": all wait a minute at least. Gives how often in a row it has said so."""

    def pause(self, attempt: Attempt, until: datetime) -> None:
        """The issuer's certificates wait until then."""

    def leave(self, lease: Lease, attempt: Attempt, *, why: str) -> None:
        """As `abandon`, for another issuer: what went wrong at this one is still known to `standings`."""

    def standings(self, cert_id: CertId, wanted: Sequence[Terms], since: datetime | None) -> Mapping[str, Standing]:
        """How each of these issuers has been to this certificate since then, by directory."""

    def abandon(self, lease: Lease, attempt: Attempt, *, why: str) -> None:
        """End the attempt without counting a failure: it no longer answers what is wanted."""

    def refuse(self, cert_id: CertId, *, error: BaseException, retry_at: datetime) -> None:
        """Nothing could be begun for it: one more failure, the next try, `last_error`."""

    def lose(self, lease: Lease, attempt: Attempt, *, error: OrderLost) -> None:
        """End an attempt whose order is lost, without counting a failure: another takes its place."""

    def losses(self, cert_id: CertId, *, most: int) -> Losses:
        """What was lost lately, of this certificate and of all; this one may lose `most` orders in 7 days."""
