"""One certificate, held: its lease, and what is wanted and known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from knit.core.model.certificate import CertId
from knit.core.model.challenge import ChallengeId, Leftover
from knit.core.model.decision import Known, Rules, Wait
from knit.core.renewal import LOST_AGAIN, NOT_DUE
from knit.errors import NoSuchCertificate
from knit.ports.leases import Lease
from knit.store.database import Database
from knit.store.leases.leases import Leases
from knit.store.portions import PORTION
from knit.store.queries import Row, queries
from knit.store.rows import known_from, leftover_from

HOLD = (
    f"with taken as ({queries('leases/leases')['take']}) "  # noqa: S608 -- both are texts of ours
    f"select taken.epoch, taken.at, known.* from ({queries('journal/holding')['load']}) known left join taken on true"
)


def _is_empty(row: Row) -> bool:
    """Nothing is wanted, nothing is under way and nothing is left behind."""
    return row["c_id"] is None and row["a_id"] is None and not row["leftovers"]


def load(database: Database, cert_id: CertId) -> Known:
    """What is wanted and known. `state.published` is what Postgres believes; only Valkey knows."""
    return known_from(database.rows(queries("journal/holding")["load"], {"id": cert_id})[0])


class Holding:
    """The port `Holding`."""

    def __init__(self, database: Database, leases: Leases) -> None:
        self._database = database
        self._leases = leases
        self._sql = queries("journal/holding")

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
        self._database.write(queries("journal/open_journal")["removed"], {"gone": [challenge]})

    def looked(self, cert_id: CertId, rules: Rules, verdict: Wait) -> None:
        """A worker has found nothing to do before then. An error that keeps it waiting is left as it is."""
        error = verdict.reason if verdict.reason == LOST_AGAIN else None
        told = {"said": verdict.reason in (NOT_DUE, LOST_AGAIN), "error": error, "until": verdict.until}
        self._database.write(self._sql["looked"], {"id": cert_id, "policy": rules.fingerprint, **told})


def plan_checks(database: Database, untils: Mapping[CertId, datetime], rules: Rules) -> None:
    """Nothing to decide before then; does nothing where what is wanted has changed since it was adopted.

    A portion at a time: after a change of policy these are all there are, and a statement has a deadline.
    """
    planned = tuple(untils.items())
    for start in range(0, len(planned), PORTION):
        ids, instants = zip(*planned[start : start + PORTION], strict=True)
        portion = {"ids": list(ids), "untils": list(instants), "policy": rules.fingerprint}
        database.write(queries("journal/holding")["plan_checks"], portion)
