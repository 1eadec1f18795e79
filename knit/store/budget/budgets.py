"""The port `Budgets`: token buckets as rows of knit_budget. Triggers of knit_attempts charge them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from knit.core.budget import BucketKey, Cost, Level, most
from knit.core.limits import SPENT_BY_ORDERS, Limit, Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import Rules, Wait
from knit.store.database import Database
from knit.store.portions import PORTION
from knit.store.queries import Row, queries


class Budgets:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("budget/budget")

    def levels(self, keys: Collection[BucketKey]) -> Mapping[BucketKey, Level]:
        """See the port."""
        if not keys:
            return {}
        columns = zip(*sorted(keys), strict=True)
        asked = dict(zip(("directories", "limits", "subjects"), map(list, columns), strict=True))
        return _levels(self._database.rows(self._sql["levels"], asked))

    def every(self) -> Mapping[BucketKey, Level]:
        """See the port."""
        return _levels(self._database.rows(self._sql["every"]))

    def exhausted(self, key: BucketKey, rate: Rate, until: datetime) -> None:
        """See the port."""
        full_at = until + rate.every * (rate.count - 1)
        bucket = {"directory": key.directory, "limit": key.limit, "subject": key.subject}
        self._database.write(self._sql["exhausted"], {**bucket, "full_at": full_at})

    def wait(self, waits: Mapping[CertId, Wait], rules: Rules) -> None:
        """See the port."""
        planned = tuple(waits.items())
        for start in range(0, len(planned), PORTION):
            ids, found = zip(*planned[start : start + PORTION], strict=True)
            portion = {
                "ids": list(ids),
                "untils": [wait.until for wait in found],
                "whys": [wait.reason for wait in found],
            }
            self._database.write(self._sql["wait"], {**portion, "policy": rules.fingerprint})

    def waiting(self, at: datetime, reasons: Collection[str] | None = None) -> Mapping[CertId, Wait]:
        """See the port."""
        asked = {"at": at, "reasons": None if reasons is None else list(reasons)}
        rows = self._database.rows(self._sql["waiting"], asked)
        return {CertId(row["cert_id"]): Wait(until=row["check_at"], reason=row["no_room"]) for row in rows}


def charged(costs: Iterable[Cost], share: float) -> list[dict[str, object]]:
    """What an attempt costs, as its column `budget` has it."""
    return [
        {
            "limit_name": cost.key.limit.value,
            "subject": cost.key.subject,
            "every": f"{cost.rate.every.total_seconds():.6f} seconds",
            "most": most(cost.rate, share),
            "by_order": cost.key.limit in SPENT_BY_ORDERS,
        }
        for cost in costs
    ]


def _levels(rows: Iterable[Row]) -> Mapping[BucketKey, Level]:
    known = set(Limit)
    return {
        BucketKey(row["directory"], Limit(row["limit_name"]), row["subject"]): Level(row["full_at"], row["held"])
        for row in rows
        if row["limit_name"] in known
    }
