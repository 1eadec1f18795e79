"""The worker's side of Postgres: one certificate's state, and the journal of its attempts.

Every write is fenced: it is made only while the attempt carries this lease's epoch and the lease row does too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypeVar

from psycopg.types.json import Jsonb

from knit.core.model.attempt import Attempt, AttemptId
from knit.core.model.certificate import CertId, CertSpec, Leaf
from knit.core.model.challenge import Challenge, ChallengeId, Leftover, Record
from knit.core.model.decision import Known, Losses, Pause, Reason, Rules, Wait
from knit.core.model.issuer import Asked, Terms
from knit.core.renewal import LOST_AGAIN, NOT_DUE
from knit.core.text import ascii_only, clean
from knit.errors import (
    AccountLimited,
    Busy,
    Interrupted,
    KnitError,
    LeaseLost,
    Misconfigured,
    NoSuchCertificate,
    NotPermitted,
    OrderLost,
    Outage,
    RateLimited,
    ServerDenied,
    Transient,
)
from knit.ports.leases import Lease
from knit.store.database import Database
from knit.store.leases.leases import Leases
from knit.store.queries import Row, queries
from knit.store.rights import Rights
from knit.store.rows import attempt_from, known_from, leftover_from

T = TypeVar("T")

PORTION = 1000
"""Rows of one statement at most: it has a deadline, and what is done is done if it dies there."""

NOT_BEFORE_A_CHANGE = datetime(9999, 12, 31, tzinfo=UTC)


HOLD = (
    f"with taken as ({queries('leases/leases')['take']}) "  # noqa: S608 -- both are texts of ours
    f"select taken.epoch, taken.at, known.* from ({queries('journal/attempts')['load']}) known left join taken on true"
)


def _is_empty(row: Row) -> bool:
    """Nothing is wanted, nothing is under way and nothing is left behind."""
    return row["c_id"] is None and row["a_id"] is None and not row["leftovers"]


def load(database: Database, cert_id: CertId) -> Known:
    """What is wanted and known. `state.published` is what Postgres believes; only Valkey knows."""
    return known_from(database.rows(queries("journal/attempts")["load"], {"id": cert_id})[0])


class Attempts:
    """The port `Store`: what renewing one certificate needs."""

    def __init__(self, database: Database, leases: Leases) -> None:
        self._database = database
        self._leases = leases
        self._rights = Rights(database)
        self._sql = queries("journal/attempts")

    def check_rights(self) -> None:
        """See the port."""
        self._rights.check()

    def denied(self, cert_id: CertId, error: NotPermitted) -> None:
        """See the port."""
        self._rights.doubt()
        with suppress(KnitError):
            told(error, lambda words: self._database.write(self._sql["denied"], {"id": cert_id, **words}))

    @contextmanager
    def hold(self, cert_id: CertId) -> Iterator[tuple[Lease, Known] | None]:
        """See the port. What is known may be older than the lease, by the moment both took: see `begin`, `resume`."""
        if not -(2**63) <= cert_id < 2**63:
            message = f"no certificate has the id {cert_id}"
            raise NoSuchCertificate(message)
        with self._leases.reading(f"cert:{cert_id}", HOLD, {"id": cert_id, "cert": cert_id}) as (lease, row):
            if lease is None and row is not None and _is_empty(row):
                message = f"no certificate has the id {cert_id}"
                raise NoSuchCertificate(message)
            yield None if lease is None or row is None else (lease, known_from(row))

    def leftovers(self, cert_id: CertId) -> Sequence[Leftover]:
        """TXT values set, or perhaps set, for this certificate and not removed."""
        return tuple(leftover_from(row) for row in self._database.rows(self._sql["leftovers"], {"id": cert_id}))

    def removed(self, challenge: ChallengeId) -> None:
        """A leftover is gone. Written without a lease: nobody else can make it untrue."""
        self._database.write(self._sql["removed"], {"gone": [challenge]})

    def begin(
        self,
        lease: Lease,
        spec: CertSpec,
        reason: Reason,
        asked: Asked,
        spki_sha256: str,
        *,
        newest: AttemptId | None,
    ) -> Attempt:
        """Open a new attempt. Raises LeaseLost also when another worker has opened one since `newest`."""
        wanted = {
            "cert_id": spec.id,
            "reason": reason.value,
            "names": list(spec.names),
            "provider": spec.provider,
            **asdict(asked),
            "key_type": asked.key_type.value,
            "spki_sha256": spki_sha256,
            "newest": newest,
        }
        return attempt_from(self._fenced("begin", lease, wanted))

    def resume(self, lease: Lease, attempt: Attempt) -> Attempt:
        """Take over an open attempt as it now is: its former worker may have written since it was read."""
        return attempt_from(self._fenced("resume", lease, {"id": attempt.id}))

    def key_staged(self, lease: Lease, attempt: Attempt, spki_sha256: str) -> None:
        """Another key is in staging. The step of an order that is not yet finalized stays as it is."""
        self._write("key_staged", lease, {"id": attempt.id, "spki_sha256": spki_sha256})

    def journal(self, lease: Lease, attempt: Attempt) -> AttemptJournal:
        """The journal that the issuer and the solver write to."""
        return AttemptJournal(self._database, lease, attempt)

    def hand_over(self, lease: Lease, attempt: Attempt, leaf: Leaf, sha256: str) -> None:
        """The checked bundle is in staging: it can be published. The lease is given back with it."""
        facts = {name: getattr(leaf, name) for name in ("serial", "ari_id", "not_before", "not_after")}
        self._write("hand_over", lease, {"id": attempt.id, **facts, "sha256": sha256})
        self._leases.given_back(lease)

    def fail(self, lease: Lease, attempt: Attempt, *, error: BaseException, retry_at: datetime | None) -> None:
        """End the attempt as failed; without `retry_at`, it is not tried again before something is changed."""
        at = NOT_BEFORE_A_CHANGE if retry_at is None else retry_at
        told(error, lambda words: self._write("fail", lease, {"id": attempt.id, **words, "retry_at": at}))

    def postpone(self, lease: Lease, attempt: Attempt, *, error: BaseException, retry_at: datetime) -> None:
        """Leave the attempt open, to be gone on with at `retry_at`."""
        shown = not isinstance(error, Busy | Interrupted | Outage | ServerDenied)
        counts = shown and not isinstance(error, RateLimited)
        lock = error.lock if isinstance(error, Busy) else None
        written = {"retry_at": retry_at if shown else None, "shown": shown, "counts": counts, "waits_for": lock}
        told(error, lambda words: self._write("postpone", lease, {"id": attempt.id, **words, **written}))

    def put_off(self, lease: Lease, spec: CertSpec, terms: Terms, *, why: Transient, retry_at: datetime) -> None:
        """Nothing was begun for this certificate; look at it again at `retry_at`."""
        written = {"cert_id": spec.id, "directory": terms.directory, "retry_at": retry_at}
        told(why, lambda words: self._write("put_off", lease, {**written, **words}))

    def admit(self, cert_id: CertId, terms: Terms) -> Pause | None:
        """Whether this CA may be asked for anything now; of those that wait, one may try once the pause is over."""
        ca = {"cert_id": cert_id, "issuer": terms.name, "directory": terms.directory}
        row = self._database.row(self._sql["admit"], ca)
        return None if row is None else Pause(until=row["until"], said=row["said"])

    def refused(self, attempt: Attempt, said: AccountLimited) -> int:
        """The CA has said that it is asked too often; gives how often in a row it has."""
        ca = {"issuer": attempt.issuer, "directory": attempt.directory, "cert_id": attempt.cert_id}
        rows = told(said, lambda words: self._database.rows(self._sql["refused"], {**ca, "said": words["error"]}))
        return int(rows[0]["refusals"])

    def pause(self, attempt: Attempt, until: datetime) -> None:
        """Nobody asks this CA for anything before `until`."""
        ca = {"issuer": attempt.issuer, "directory": attempt.directory}
        self._database.write(self._sql["pause"], {**ca, "until": until})

    def abandon(self, lease: Lease, attempt: Attempt, *, why: str) -> None:
        """End the attempt without counting a failure."""
        self._write("abandon", lease, {"id": attempt.id, "why": why})

    def refuse(self, cert_id: CertId, *, error: BaseException, retry_at: datetime) -> None:
        """Nothing could be begun for it."""
        written = {"id": cert_id, "retry_at": retry_at}
        told(error, lambda words: self._database.write(self._sql["refuse"], {**written, **words}))

    def lose(self, lease: Lease, attempt: Attempt, *, error: OrderLost) -> None:
        """End the attempt of an order that is lost without counting a failure."""
        told(error, lambda words: self._write("lose", lease, {"id": attempt.id, **words}))

    def losses(self, cert_id: CertId, *, most: int) -> Losses:
        """Orders lost by this certificate in 7 days, and by all in an hour."""
        (row,) = self._database.rows(self._sql["losses"], {"id": cert_id, "before": most - 1})
        return Losses(**row)

    def looked(self, cert_id: CertId, rules: Rules, verdict: Wait) -> None:
        """A worker has found nothing to do before then. An error that keeps it waiting is left as it is."""
        error = verdict.reason if verdict.reason == LOST_AGAIN else None
        told = {"said": verdict.reason in (NOT_DUE, LOST_AGAIN), "error": error, "until": verdict.until}
        self._database.write(self._sql["looked"], {"id": cert_id, "policy": rules.fingerprint, **told})

    def _fenced(self, name: str, lease: Lease, parameters: Mapping[str, object]) -> Row:
        return fenced(self._database, self._sql[name], lease, parameters)

    def _write(self, name: str, lease: Lease, parameters: Mapping[str, object]) -> None:
        write(self._database, self._sql[name], lease, parameters)


class AttemptJournal:
    """The port `OpenJournal` for one attempt under one lease.

    What is gone from the DNS is noted with the next step, or by `close`: until then it only looks as if it were still
    there, and whoever removes it again finds nothing.
    """

    def __init__(self, database: Database, lease: Lease, attempt: Attempt) -> None:
        self._database = database
        self._lease = lease
        self._attempt = attempt
        self._gone: list[ChallengeId] = []
        self._set: set[ChallengeId] = set()
        self._charged: dict[str, datetime] = {}
        self._sql = queries("journal/attempts")

    def ordered(self, order_url: str) -> None:
        """The CA has given this order."""
        self._write("ordered", order_url=order_url)

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
        self._set.add(ChallengeId(row["id"]))
        return ChallengeId(row["id"])

    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None:
        """It was set."""
        shown = {"challenge": challenge, "state": None if state is None else Jsonb(state)}
        write(self._database, self._sql["presented"], self._lease, shown)

    def removed(self, challenge: ChallengeId) -> None:
        """It was removed."""
        self._gone.append(challenge)
        self._set.discard(challenge)

    def leaves_records(self) -> bool:
        """Whether something was set, or perhaps set, and not removed."""
        return bool(self._set)

    def close(self) -> None:
        """Note what has not been noted. Written without a lease: nobody else can make it untrue."""
        if self._gone:
            with suppress(KnitError):
                self._database.write(self._sql["removed"], {"gone": self._gone})

    def check(self) -> None:
        """Raise LeaseLost when another worker may have taken over."""
        self._lease.check()

    def finalizing(self) -> None:
        """The CSR is about to be sent."""
        self._write("finalizing", gone=self._gone, charged=list(self._charged), at=list(self._charged.values()))
        self._gone = []

    def validating(self, names: Sequence[str], most: int) -> None:
        """The CA is about to look for the proofs of these names. Raises RateLimited while one has failed too often."""
        asked = {"id": self._attempt.id, "names": list(names), "most": most}
        row = fenced(self._database, self._sql["validating"], self._lease, asked)
        if row["refused"] is not None:
            message = f"{row['refused']}: proofs of this name have failed as often as is safe for one hour"
            raise RateLimited(message, retry_at=row["until"])
        for name in names:
            self._charged[name] = row["at"]

    def _write(self, name: str, **parameters: object) -> None:
        write(self._database, self._sql[name], self._lease, {"id": self._attempt.id, **parameters})


def plan_checks(database: Database, untils: Mapping[CertId, datetime], rules: Rules) -> None:
    """Nothing to decide before then; does nothing where what is wanted has changed since it was adopted.

    A portion at a time: after a change of policy these are all there are, and a statement has a deadline.
    """
    planned = tuple(untils.items())
    for start in range(0, len(planned), PORTION):
        ids, instants = zip(*planned[start : start + PORTION], strict=True)
        portion = {"ids": list(ids), "untils": list(instants), "policy": rules.fingerprint}
        database.write(queries("journal/attempts")["plan_checks"], portion)


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


def told(error: BaseException, write: Callable[[dict[str, str]], T]) -> T:
    """Write an error's class and text, and give what `write` gives.

    Only our own errors are made to be shown: the text of any other may hold anything. A database in another encoding
    than UTF-8 may refuse a letter, and the failure must be recorded all the same: then it gets plain letters.
    """
    text = clean(str(error) if isinstance(error, KnitError) else "unexpected error, see the log")
    try:
        return write({"error_class": type(error).__name__, "error": text})
    except (Misconfigured, UnicodeError):
        if text.isascii():
            raise
        return write({"error_class": type(error).__name__, "error": ascii_only(text)})
