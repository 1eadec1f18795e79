"""What a pass needs of Postgres: adoption, what may be due, what is published, what is to be removed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from psycopg.types.json import Jsonb

from knit.core.brake import CONFIRMED, Pace
from knit.core.imported import Lack
from knit.core.model.attempt import Attempt, AttemptId, Ready
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.model.decision import Candidate, Census, Newcomer, Resting, Rules
from knit.core.value import FARTHEST, Parcel
from knit.core.wanted import ListRules
from knit.ports.passes import Mended, Removals
from knit.ports.publication import Holder
from knit.store.accounts.accounts import original_host
from knit.store.columns import ISSUED
from knit.store.database import Database
from knit.store.journal.fencing import told
from knit.store.journal.holding import plan_checks
from knit.store.list.adoption import adopt
from knit.store.portions import PORTION, SMALLEST_ID
from knit.store.queries import queries
from knit.store.rows import issued_from, keys_from, ready_from, spec_from, state_from

_as_json = partial(json.dumps, default=datetime.isoformat)

DEEP_CHECK = "deep check"
TIDYING = "tidying of staging"
CONFIRMATION = "mass renewal confirmed"


class Passes:
    """The port `Passes`. `allowed` is what rows may ask for that other software wrote."""

    def __init__(self, database: Database, allowed: ListRules) -> None:
        self._database = database
        self._allowed = allowed
        self._sql = {
            **queries("passes/passes"),
            **queries("passes/mending"),
            **queries("publications/publication"),
        }

    def mend(self) -> Mended:
        """See the port."""
        (row,) = self._database.rows(self._sql["mend"], {"farthest": FARTHEST})
        return Mended(certificates=tuple(map(CertId, row["certificates"])), others=row["others"])

    def adopt(self) -> int:
        """Normalise rows that other software wrote; give the number left out."""
        return adopt(self._database, self._allowed)

    def unrecorded(self) -> Iterator[CertSpec]:
        """Enabled certificates about whose published value nothing is recorded, and no attempt is open."""
        after = SMALLEST_ID
        while rows := self._database.rows(self._sql["unrecorded"], {"after": after, "limit": PORTION}):
            yield from map(spec_from, rows)
            after = rows[-1]["id"]

    def original_account_host(self) -> str | None:
        """Host of the ACME account that the Go knit registered in this database, if it did."""
        return original_host(self._database)

    def record_adopted(self, issued: Issued, spki_sha256: str, *, before: str | None = None) -> None:
        """Record the facts of a value that was found published, in place of those with the hash `before`."""
        facts = {**_columns(issued), "spki_sha256": spki_sha256, "before": before}
        self._database.write(self._sql["record_adopted"], facts)

    def published_keys(self) -> frozenset[str]:
        """The valkey_keys, as published, of enabled certificates."""
        return self._keys("published_keys")

    def published_hashes(self) -> Mapping[str, tuple[str, int, datetime]]:
        """The recorded sha256, generation and end of every published value, by valkey_key."""
        rows = self._database.rows(self._sql["published_hashes"])
        return {row["valkey_key"]: (row["sha256"], row["generation"], row["not_after"]) for row in rows}

    def pace(self, reasons: Iterable[str], at: datetime) -> Pace:
        """See the port."""
        asked = {"reasons": list(reasons), "confirmed": CONFIRMED, "mark": CONFIRMATION, "at": at}
        (row,) = self._database.rows(self._sql["pace"], asked)
        return Pace(**row)

    def unread(self) -> Sequence[CertId]:
        """See the port."""
        return tuple(CertId(row["id"]) for row in self._database.rows(self._sql["unread"]))

    def resting(self, at: datetime) -> Sequence[Resting]:
        """See the port."""
        return tuple(Resting(**row) for row in self._database.rows(self._sql["resting"], {"at": at}))

    def candidates_of(self, ids: Sequence[CertId]) -> Iterator[Candidate]:
        """See the port."""
        return self._candidates(ids, [])

    def candidates(
        self, rules: Rules, unpublished: Iterable[str], at: datetime | None = None
    ) -> Iterator[Candidate | Newcomer]:
        """Certificates that may be due, or have challenge records left to remove, and that nobody is working on."""
        unseen = list(unpublished)
        known = []
        for row in self._database.rows(
            self._sql["due"], {"unpublished": unseen, "policy": rules.fingerprint, "at": at}
        ):
            if row["names_key"] is None:
                known.append(row["id"])
            else:
                facts = {name: row[name] for name in ("names_key", "issuer", "asked")}
                yield Newcomer(cert_id=CertId(row["id"]), **facts)
        yield from self._candidates(known, unseen)

    def _candidates(self, ids: Sequence[CertId], unpublished: list[str]) -> Iterator[Candidate]:
        for start in range(0, len(ids), PORTION):
            asked = {"unpublished": unpublished, "ids": list(ids[start : start + PORTION])}
            rows = self._database.rows(self._sql["candidates"], asked)
            for row in rows:
                found = {"leftovers": row["leftovers"], "asked": row["asked"]}
                yield Candidate(spec=spec_from(row), state=state_from(row), **found)

    def orphaned_leftovers(self) -> Sequence[CertId]:
        """Removed and disabled certificates with something left to remove or to end; left-out ones with records."""
        return tuple(CertId(row["cert_id"]) for row in self._database.rows(self._sql["orphaned_leftovers"]))

    def deep_check_due(self, *, force: bool) -> bool:
        """Whether the last check of every value's content is a day ago; taken as done when True is given."""
        return self._database.row(self._sql["take_mark"], {"name": DEEP_CHECK, "force": force}) is not None

    def tidying_due(self) -> bool:
        """Whether staging was last tidied a day ago; taken as done when True is given."""
        return self._database.row(self._sql["take_mark"], {"name": TIDYING, "force": False}) is not None

    def ended(self) -> Sequence[AttemptId]:
        """Attempts that ended in the last four days."""
        return [AttemptId(row["id"]) for row in self._database.rows(self._sql["ended"])]

    def plan_checks(self, untils: Mapping[CertId, datetime], rules: Rules) -> None:
        """Nothing to decide about these certificates before the instant beside each."""
        plan_checks(self._database, untils, rules)

    def asked(self, cert_ids: Sequence[CertId]) -> None:
        """Workers have been sent a message about each of these."""
        for start in range(0, len(cert_ids), PORTION):
            self._database.write(self._sql["asked"], {"ids": list(cert_ids[start : start + PORTION])})

    def passed(self) -> Census:
        """A pass has been done; gives the list in figures."""
        (row,) = self._database.rows(self._sql["passed"])
        return Census(**row)

    def ready(self, *, begun: bool) -> Sequence[Ready]:
        """What waits to be published; with `begun` also what another worker may be publishing now."""
        return tuple(ready_from(row) for row in self._database.rows(self._sql["ready"], {"begun": begun}))

    def publishing(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """These are about to be published; gives those that no other worker has published, given up or begun with."""
        attempts = [parcel.ready.attempt.id for parcel in parcels]
        generations = [parcel.issued.generation for parcel in parcels]
        before = [parcel.ready.generation for parcel in parcels]
        told = {"ids": attempts, "generations": generations, "before": before}
        ours = {row["id"] for row in self._database.rows(self._sql["publishing"], told)}
        return [parcel for parcel in parcels if parcel.ready.attempt.id in ours]

    def record_published(self, parcels: Sequence[Parcel]) -> None:
        """End the attempts, clear failures and `last_error`. Recording it twice changes nothing."""
        records = [{**_columns(parcel.issued), "attempt_id": parcel.ready.attempt.id} for parcel in parcels]
        self._database.write(self._sql["record_published"], {"published": Jsonb(records, dumps=_as_json)})

    def close(self, attempt: Attempt, *, why: str) -> None:
        """End an attempt whose bundle cannot or need not be published any more."""
        self._database.write(self._sql["close"], {"id": attempt.id, "why": why})

    def send_back(self, attempt: Attempt, *, error: BaseException, retry_at: datetime) -> None:
        """Leave it to the next renewal, which asks the CA for the chain again."""
        written = {"id": attempt.id, "retry_at": retry_at}
        told(error, lambda words: self._database.write(self._sql["send_back"], {**written, **words}))

    def give_up(self, attempt: Attempt, *, error: BaseException, retry_at: datetime | None) -> None:
        """End an attempt whose bundle is of no use, as a failure."""
        written = {"id": attempt.id, "retry_at": retry_at}
        told(error, lambda words: self._database.write(self._sql["give_up"], {**written, **words}))

    def complain(self, cert_ids: Sequence[CertId], error: BaseException) -> None:
        """Show why these certificates are not published."""
        for start in range(0, len(cert_ids), PORTION):
            told(error, partial(self._complain, cert_ids[start : start + PORTION]))

    def tell_expiry(self, lacks: Mapping[CertId, Lack]) -> frozenset[CertId]:
        """See the port. A trigger leaves the event."""
        told = {"ids": list(lacks), "lacks": [lack.value for lack in lacks.values()]}
        rows = self._database.rows(self._sql["tell_expiry"], told) if lacks else ()
        return frozenset(CertId(row["cert_id"]) for row in rows)

    def _complain(self, cert_ids: Sequence[CertId], words: Mapping[str, str]) -> None:
        self._database.write(self._sql["complain"], {"ids": list(cert_ids), **words})

    def recorded(self, keys: Iterable[str]) -> Sequence[tuple[CertSpec, Issued]]:
        """Enabled certificates that count as published under one of these keys."""
        found = self._database.rows(self._sql["recorded"], {"keys": list(keys)})
        return tuple((spec_from(row), issued_from(row)) for row in found)

    def occupied(self, keys: Iterable[str]) -> Mapping[str, Holder]:
        """See the port."""
        found = self._database.rows(self._sql["occupied"], {"keys": list(keys)})
        return {row["valkey_key"]: Holder(CertId(row["cert_id"]), row["sha256"]) for row in found}

    def moved(self) -> Sequence[tuple[CertSpec, Issued]]:
        """Enabled certificates whose key or paths differ from what is published."""
        return tuple((spec_from(row), issued_from(row)) for row in self._database.rows(self._sql["moved"]))

    def record_refreshed(self, issued: Issued, before: Issued) -> bool:
        """The value was published again with other metadata; its former key, if that changed, gets a tombstone."""
        facts = {**_columns(issued), "before": before.generation}
        return self._database.row(self._sql["record_refreshed"], facts) is not None

    def wanted_keys(self) -> frozenset[str]:
        """The valkey_keys of all enabled certificates, and those they are moving away from."""
        row = self._database.rows(self._sql["wanted_keys"])[0]
        return keys_from(row["wanted"]) | keys_from(row["moving"])

    def removals(self) -> Removals:
        """The valkey_keys of removed and disabled certificates that no enabled one has taken over."""
        row = self._database.rows(self._sql["removals"])[0]
        return Removals(
            keys=keys_from(row["keys"]),
            at=row["at"],
            suspects=keys_from(row["suspects"]),
            noted=row["noted"],
        )

    def clear_removals(self, keys: Iterable[str], at: datetime) -> None:
        """What was asked for at these keys until then is done; a disabled certificate is no longer published."""
        if done := list(keys):
            self._database.write(self._sql["clear_removals"], {"keys": done, "at": at})

    def tidy(self) -> None:
        """Forget attempts that ended 90 days ago and left nothing in the DNS, and leases nobody took since.

        Also what own CAs have issued, a week after its end; a year, where it was revoked.
        """
        self._database.write(self._sql["tidy"])
        while self._database.write(self._sql["tidy_own_ca"], {"limit": PORTION}) == PORTION:
            pass

    def _keys(self, statement: str) -> frozenset[str]:
        return keys_from(self._database.rows(self._sql[statement])[0]["keys"])


def _columns(issued: Issued) -> dict[str, object]:
    """As `asdict`, which copies what needs no copy and takes twenty times as long."""
    return {name: getattr(issued, name) for name in ISSUED}
