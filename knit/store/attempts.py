"""The worker's side of Postgres: one certificate's state, and the journal of its attempts.

Every write is fenced: it is made only while the attempt carries this lease's epoch and the lease row does too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from knit.core.model import (
    Attempt,
    CertId,
    CertSpec,
    Challenge,
    ChallengeId,
    Known,
    Leftover,
    Policy,
    Reason,
    Record,
    Step,
)
from knit.errors import Interrupted, KnitError, LeaseLost
from knit.ports import Lease
from knit.store.database import Database
from knit.store.queries import Row, queries
from knit.store.rows import attempt_from, known_from, leftover_from

NOT_BEFORE_A_CHANGE = datetime(9999, 12, 31, tzinfo=UTC)
LONGEST_ERROR = 2000
NOTHING: Mapping[str, object] = {"step": None, "order_url": None, "spki_sha256": None}


class Attempts:
    """The port `Store`: what renewing one certificate needs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("attempts")

    def load(self, cert_id: CertId) -> Known:
        """What is wanted and known. `state.published` is what Postgres believes; only Valkey knows."""
        return known_from(self._database.rows(self._sql["load"], {"id": cert_id})[0])

    def leftovers(self, cert_id: CertId) -> Sequence[Leftover]:
        """TXT values set, or perhaps set, for this certificate and not removed."""
        return tuple(leftover_from(row) for row in self._database.rows(self._sql["leftovers"], {"id": cert_id}))

    def removed(self, challenge: ChallengeId) -> None:
        """A leftover is gone. Written without a lease: nobody else can make it untrue."""
        self._database.write(self._sql["removed"], {"challenge": challenge})

    def begin(self, lease: Lease, spec: CertSpec, reason: Reason, directory: str) -> Attempt:
        """Open a new attempt. Raises LeaseLost also when another worker has opened one."""
        wanted = {
            "cert_id": spec.id,
            "reason": reason.value,
            "names": list(spec.names),
            "provider": spec.provider,
            "issuer": spec.issuer,
            "directory": directory,
            "key_type": spec.key_type.value,
            "profile": spec.profile,
        }
        return attempt_from(self._fenced("begin", lease, wanted))

    def resume(self, lease: Lease, attempt: Attempt) -> Attempt:
        """Take over an open attempt as it now is: its former worker may have written since it was read."""
        return attempt_from(self._fenced("resume", lease, {"id": attempt.id}))

    def key_staged(self, lease: Lease, attempt: Attempt, spki_sha256: str) -> None:
        """The key is in staging. A key staged again, for an order not yet finalized, leaves the step as it is."""
        first = attempt.step is Step.PLANNED
        step = Step.KEY_STAGED.value if first else None
        self._write("write", lease, {**NOTHING, "id": attempt.id, "step": step, "spki_sha256": spki_sha256})

    def journal(self, lease: Lease, attempt: Attempt) -> AttemptJournal:
        """The journal that the issuer and the solver write to."""
        return AttemptJournal(self._database, lease, attempt)

    def staged(self, lease: Lease, attempt: Attempt) -> None:
        """The checked bundle is in staging: it can be published."""
        self._write("write", lease, {**NOTHING, "id": attempt.id, "step": Step.ISSUED.value})

    def fail(self, lease: Lease, attempt: Attempt, *, error: BaseException, retry_at: datetime | None) -> None:
        """End the attempt as failed; without `retry_at`, it is not tried again before something is changed."""
        at = NOT_BEFORE_A_CHANGE if retry_at is None else retry_at
        self._write("fail", lease, {"id": attempt.id, **told(error), "retry_at": at})

    def postpone(self, lease: Lease, attempt: Attempt, *, error: BaseException, retry_at: datetime) -> None:
        """Leave the attempt open, to be gone on with at `retry_at`."""
        counts = not isinstance(error, Interrupted)
        self._write("postpone", lease, {"id": attempt.id, **told(error), "retry_at": retry_at, "counts": counts})

    def abandon(self, lease: Lease, attempt: Attempt, *, why: str) -> None:
        """End the attempt without counting a failure."""
        self._write("abandon", lease, {"id": attempt.id, "why": why})

    def key_losses(self, cert_id: CertId) -> int:
        """How many attempts of the last 7 days were abandoned because their key was gone."""
        return int(self._database.rows(self._sql["key_losses"], {"id": cert_id})[0]["losses"])

    def plan_check(self, cert_id: CertId, policy: Policy, *, until: datetime) -> None:
        """Nothing to decide before `until`; does nothing when what is wanted has changed since it was adopted."""
        planned = {"id": cert_id, "until": until, "policy": policy.fingerprint}
        self._database.write(self._sql["plan_check"], planned)

    def _fenced(self, name: str, lease: Lease, parameters: Mapping[str, object]) -> Row:
        return fenced(self._database, self._sql[name], lease, parameters)

    def _write(self, name: str, lease: Lease, parameters: Mapping[str, object]) -> None:
        write(self._database, self._sql[name], lease, parameters)


class AttemptJournal:
    """The port `Journal` for one attempt under one lease."""

    def __init__(self, database: Database, lease: Lease, attempt: Attempt) -> None:
        self._database = database
        self._lease = lease
        self._attempt = attempt
        self._sql = queries("attempts")

    def ordered(self, order_url: str) -> None:
        """The CA has given this order."""
        self._write(step=Step.ORDERED.value, order_url=order_url)

    def presenting(self, record: Record) -> ChallengeId:
        """This TXT value is about to be set."""
        challenge: Challenge = record.challenge
        parameters = {
            "identifier": challenge.identifier,
            "token": challenge.token,
            "key_authorization": challenge.key_authorization,
            "fqdn": record.fqdn,
            "zone": record.zone,
            "value": record.value,
        }
        row = fenced(self._database, self._sql["presenting"], self._lease, {"id": self._attempt.id, **parameters})
        return ChallengeId(row["id"])

    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None:
        """It was set."""
        shown = {"challenge": challenge, "state": None if state is None else Jsonb(state)}
        write(self._database, self._sql["presented"], self._lease, shown)

    def removed(self, challenge: ChallengeId) -> None:
        """It was removed. Written without a lease: nobody else can make it untrue."""
        self._database.write(self._sql["removed"], {"challenge": challenge})

    def check(self) -> None:
        """Raise LeaseLost when another worker may have taken over."""
        self._lease.check()

    def finalizing(self) -> None:
        """The CSR is about to be sent."""
        self._write(step=Step.FINALIZING.value)

    def _write(self, **parameters: object) -> None:
        write(self._database, self._sql["write"], self._lease, {**NOTHING, "id": self._attempt.id, **parameters})


def fenced(database: Database, statement: str, lease: Lease, parameters: Mapping[str, object]) -> Row:
    """Run a fenced statement and give the row it wrote. Raises LeaseLost when the fence kept it from writing."""
    lease.check()
    row = database.row(statement, {**parameters, "lease": lease.name, "epoch": lease.epoch})
    if row is None:
        raise _lost(lease)
    return row


def write(database: Database, statement: str, lease: Lease, parameters: Mapping[str, object]) -> None:
    """Run a fenced statement. Raises LeaseLost when the fence kept it from writing."""
    lease.check()
    if not database.write(statement, {**parameters, "lease": lease.name, "epoch": lease.epoch}):
        raise _lost(lease)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the lease {lease.name} or its attempt has passed to another worker")


def told(error: BaseException) -> dict[str, str]:
    """Only our own errors are made to be shown: the text of any other may hold anything."""
    text = str(error) if isinstance(error, KnitError) else "unexpected error, see the log"
    return {"error_class": type(error).__name__, "error": text.replace("\0", "")[:LONGEST_ERROR]}
