"""What the issuer and the solver write of one attempt while they work: its order, its proofs, its TXT values."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from knit.core.model.attempt import Attempt
from knit.core.model.challenge import Challenge, ChallengeId, Record
from knit.core.text import clean
from knit.errors import KnitError, RateLimited
from knit.ports.journal import Forgiven
from knit.ports.leases import Lease
from knit.store.database import Database
from knit.store.journal.fencing import fenced, write
from knit.store.queries import queries


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
        self._charged: list[tuple[str, datetime]] = []
        self._sql = queries("journal/open_journal")

    def unreplaced(self, why: str) -> None:
        """The CA will not have it replace what it said: so it is counted. Raises OverBudget when there is no room."""
        told = {"id": self._attempt.id, "why": clean(why, 500)}
        if not fenced(self._database, self._sql["unreplaced"], self._lease, told)["holding"]:
            self._write("hold")

    def unordered(self) -> None:
        """Its order is over: another one is counted. Raises OverBudget when there is no room."""
        self._write("unordered")
        self._write("hold")

    def ordered(self, order_url: str, expires: datetime | None = None) -> None:
        """The CA has given this order, which runs out then."""
        self._write("ordered", order_url=order_url, expires=expires)

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
        names, instants = [name for name, _ in self._charged], [at for _, at in self._charged]
        self._write("finalizing", gone=self._gone, charged=names, at=instants)
        self._gone = []

    def shares_proofs(self) -> bool:
        """Whether another attempt that is under way at this CA has one of the names."""
        with suppress(KnitError):
            return self._database.row(self._sql["shares_proofs"], {"id": self._attempt.id}) is not None
        return True

    def validating(self, names: Sequence[str], forgiven: Forgiven) -> None:
        """The CA is about to look for the proofs of these names. Raises RateLimited while one has failed too often."""
        asked = {"id": self._attempt.id, "names": list(names), **forgiven._asdict()}
        row = fenced(self._database, self._sql["validating"], self._lease, asked)
        if row["refused"] is not None:
            within = _hours(forgiven.within)
            told = f"proofs of this name have failed, or were broken off, as often as is safe within {within}"
            message = f"{row['refused']}: {told}"
            raise RateLimited(message, retry_at=row["until"])
        self._charged += [(name, row["at"]) for name in names]

    def _write(self, name: str, **parameters: object) -> None:
        write(self._database, self._sql[name], self._lease, {"id": self._attempt.id, **parameters})


def _hours(within: timedelta) -> str:
    hours = within / timedelta(hours=1)
    return "one hour" if hours == 1 else f"{hours:.1f} hours"
