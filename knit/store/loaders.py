"""Values that PostgreSQL can hold and Python cannot: they are read as the nearest that can be reckoned with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from psycopg import DataError, adapters, pq
from psycopg.abc import AdaptContext, Buffer, Loader
from psycopg.adapt import Loader as BaseLoader
from psycopg.types.string import TextLoader

# A day within what datetime can hold, so that any time zone can show it.
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LONGEST = timedelta(days=999_999_999)


class Instants(BaseLoader):
    """timestamptz, always in UTC: infinity, dates BC and those after the year 9999 become the edge of what there is."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._load = _usual(oid)(oid, context).load

    def load(self, data: Buffer) -> datetime:
        """Raises nothing."""
        try:
            at: datetime = self._load(data)
            return at if at.tzinfo is UTC else at.astimezone(UTC)
        except (DataError, OverflowError):
            text = bytes(data)
            return EARLIEST if text.startswith(b"-") or text.endswith(b"BC") else LATEST


class Spans(BaseLoader):
    """interval: one of over a billion days becomes just that."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._load = _usual(oid)(oid, context).load

    def load(self, data: Buffer) -> timedelta:
        """Raises nothing."""
        try:
            span: timedelta = self._load(data)
        except (DataError, OverflowError):
            return -LONGEST if bytes(data).startswith(b"-") else LONGEST
        return span


class Utf8(TextLoader):
    """Text of a database without an encoding."""

    def load(self, data: Buffer) -> str:
        """What is no UTF-8 is shown as U+FFFD."""
        return bytes(data).decode("utf-8", "replace")


def _usual(oid: int) -> type[Loader]:
    loader = adapters.get_loader(oid, pq.Format.TEXT)
    assert loader is not None, oid
    return loader
