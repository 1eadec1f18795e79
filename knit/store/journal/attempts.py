"""Attempts, from their beginning to their end, and the waits that CAs ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from knit.core.brake import MASSED
from knit.core.budget import WAITS, Cost
from knit.core.choice import Standing
from knit.core.model.attempt import Attempt, AttemptId
from knit.core.model.certificate import CertId, CertSpec, Leaf
from knit.core.model.decision import Losses, Pause, Reason
from knit.core.model.issuer import Asked, Terms
from knit.errors import (
    AccountLimited,
    AccountUnusable,
    Busy,
    Interrupted,
    IssuerDown,
    IssuerUnusable,
    KeyRefused,
    KnitError,
    NotOffered,
    NotPermitted,
    OrderLost,
    Outage,
    RateLimited,
    ServerDenied,
    Transient,
)
from knit.ports.leases import Lease
from knit.store.budget.budgets import charged
from knit.store.database import Database
from knit.store.journal.fencing import fenced, told, write
from knit.store.journal.open_journal import AttemptJournal
from knit.store.leases.leases import Leases
from knit.store.queries import Row, queries
from knit.store.rights import Rights
from knit.store.rows import attempt_from

DOWN = [
    error.__name__ for error in (IssuerDown, AccountUnusable, AccountLimited, NotOffered, KeyRefused, IssuerUnusable)
] + ["Garbled"]
"""Classes of errors after which the next issuer may be asked; the last one is an IssuerDown of the ACME part's own."""

NOT_BEFORE_A_CHANGE = datetime(9999, 12, 31, tzinfo=UTC)


class Attempts:
    """The port `Attempts`."""

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
        """Open a new attempt. Raises LeaseLost also when another worker has opened one since `newest`."""
        wanted = {
            "cert_id": spec.id,
            "reason": reason.value,
            "names": list(spec.names),
            "provider": spec.provider,
            "issuer": asked.issuer,
            "directory": asked.directory,
            "key_type": asked.key_type.value,
            "profile": asked.profile,
            "preferred_chain": asked.preferred_chain,
            "spki_sha256": spki_sha256,
            "newest": newest,
            "replaces": replaces,
            "budget": Jsonb(charged(costs, share)),
            "unspared": Jsonb(charged(unspared, share)),
        }
        return attempt_from(self._fenced("begin", lease, wanted))

    def resume(self, lease: Lease, attempt: Attempt) -> Attempt:
        """Take over an open attempt as it now is: its former worker may have written since it was read.

        Raises OverBudget, with nothing written, when it has no order, and no room for one any more.
        """
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

    def count_refusal(self, attempt: Attempt, said: AccountLimited) -> int:
        """The CA has said that it is asked too often; gives how often in a row it has."""
        ca = {"issuer": attempt.issuer, "directory": attempt.directory, "cert_id": attempt.cert_id}
        rows = told(said, lambda words: self._database.rows(self._sql["count_refusal"], {**ca, "said": words["error"]}))
        return int(rows[0]["refusals"])

    def pause(self, attempt: Attempt, until: datetime) -> None:
        """Nobody asks this CA for anything before `until`."""
        ca = {"issuer": attempt.issuer, "directory": attempt.directory}
        self._database.write(self._sql["pause"], {**ca, "until": until})

    def leave(self, lease: Lease, attempt: Attempt, *, why: str) -> None:
        """End the attempt without counting a failure; how it went wrong stays known."""
        write(self._database, self._sql["leave"], lease, {"id": attempt.id, "why": why})

    def standings(self, cert_id: CertId, wanted: Sequence[Terms], since: datetime | None) -> Mapping[str, Standing]:
        """Which of these issuers were down when this certificate last tried, and which are left alone."""
        asked = {"id": cert_id, "directories": [terms.directory for terms in wanted], "since": since, "down": DOWN}
        rows = self._database.rows(self._sql["standings"], asked)
        return {row.pop("directory"): Standing(**row) for row in rows}

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
        (row,) = self._database.rows(self._sql["losses"], {"id": cert_id, "before": most - 1, "massed": sorted(MASSED)})
        return Losses(**row)

    def _fenced(self, name: str, lease: Lease, parameters: Mapping[str, object]) -> Row:
        return fenced(self._database, self._sql[name], lease, parameters)

    def _write(self, name: str, lease: Lease, parameters: Mapping[str, object]) -> None:
        write(self._database, self._sql[name], lease, parameters)
