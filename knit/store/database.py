"""Connections to Postgres: one for a command, a few shared ones for a worker. Each statement commits by itself.

No session state survives on a shared connection: only transaction-level locks are ever taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, Self, TypeVar

import psycopg
from psycopg.rows import dict_row

from knit.store import schema
from knit.store.dsn import Dsn, parse
from knit.store.faults import in_our_words
from knit.store.queries import Row

Connection = psycopg.Connection[Row]
Cursor = psycopg.Cursor[Row]
T = TypeVar("T")

# Long enough for a restart of the server to go by unnoticed, short enough that a stopping worker is gone in 10 s.
PATIENCE = 8.0
PAUSE = 0.1
LOST = frozenset({"08000", "08003", "08006", "57P01", "57P02", "57P03"})
REPEATABLE = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


class Source(Protocol):
    """Where connections come from."""

    def take(self) -> Connection: ...
    def give(self, connection: Connection) -> None: ...
    def close(self) -> None: ...


class One:
    """A single connection, made anew when it was lost: what a command of a second's life needs."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._lock = threading.RLock()
        self._connection = connect(dsn)

    def take(self) -> Connection:
        with ExitStack() as held:
            held.enter_context(self._lock)
            if self._connection.closed:
                self._connection = connect(self._dsn)
            held.pop_all()
        return self._connection

    def give(self, connection: Connection) -> None:
        self._lock.release()

    def close(self) -> None:
        self._connection.close()


class Shared:
    """A pool far smaller than the number of threads: a connection is held for one statement only."""

    def __init__(self, dsn: Dsn, size: int) -> None:
        from psycopg_pool import ConnectionPool  # A short command has no pool, and no time to import one.

        self._pool = ConnectionPool(
            kwargs=_arguments(dsn),
            connection_class=psycopg.Connection[Row],
            min_size=1,
            max_size=size,
            timeout=PATIENCE,
            open=True,
        )

    def take(self) -> Connection:
        return self._pool.getconn()

    def give(self, connection: Connection) -> None:
        self._pool.putconn(connection)

    def close(self) -> None:
        self._pool.close(timeout=2)


class Database:
    """Runs statements, and speaks of every failure in knit's words."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @classmethod
    def open(cls, url: str, *, connections: int = 1) -> Self:
        """Connect, and bring the schema up to date. With more than one connection, threads share them.

        Raises Misconfigured for a bad URL or a schema of a newer knit, CredentialsRejected, Unreachable.
        """
        dsn = parse(url)
        with ExitStack() as undo:
            first = One(dsn)
            undo.callback(first.close)
            with _lent(first) as connection:
                schema.bring_up_to_date(connection)
            if connections > 1:
                return cls(Shared(dsn, connections))
            undo.pop_all()
            return cls(first)

    def close(self) -> None:
        """Close every connection."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, statement: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        """Run one statement that gives rows. See `write` about running it twice."""
        return self._run(_fetched, statement, parameters)

    def row(self, statement: str, parameters: Mapping[str, object] | None = None) -> Row | None:
        """The first row, or None."""
        found = self.rows(statement, parameters)
        return found[0] if found else None

    def write(self, statement: str, parameters: Mapping[str, object] | None = None) -> int:
        """Run one statement for its effect; gives the number of rows it ended with.

        A statement whose connection turned out to be dead is run again, so each must come to the same when run
        twice: its first run may have been committed before the answer was lost.
        """
        return self._run(_counted, statement, parameters)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Several statements that hold together. Nothing but statements belongs inside."""
        try:
            with _lent(self._source) as connection, connection.transaction():
                yield connection
        except psycopg.Error as e:
            raise in_our_words(e) from None

    def _run(self, take: Callable[[Cursor], T], statement: str, parameters: Mapping[str, object] | None) -> T:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                connection = self._source.take()
                try:
                    return take(connection.execute(statement, parameters))
                finally:
                    self._source.give(connection)
            except psycopg.Error as e:
                if not _worth_repeating(e) or time.monotonic() > deadline:
                    raise in_our_words(e) from None
            time.sleep(PAUSE)


@contextmanager
def _lent(source: Source) -> Iterator[Connection]:
    """A connection for as long as the block takes: it commits each statement by itself, so there is nothing to end."""
    connection = source.take()
    try:
        yield connection
    finally:
        source.give(connection)


def _fetched(cursor: Cursor) -> Sequence[Row]:
    return cursor.fetchall()


def _counted(cursor: Cursor) -> int:
    return cursor.rowcount


def connect(dsn: Dsn) -> Connection:
    """One connection as every part of knit uses it. Raises Misconfigured, CredentialsRejected, Unreachable."""
    try:
        return psycopg.Connection[Row].connect(**_arguments(dsn))
    except psycopg.Error as e:
        raise in_our_words(e) from None


def _arguments(dsn: Dsn) -> dict[str, Any]:
    prepares = {} if dsn.prepares else {"prepare_threshold": None}
    return {**dsn.parameters, "autocommit": True, "row_factory": dict_row, **prepares}


def _worth_repeating(error: psycopg.Error) -> bool:
    """A lost connection is; a server that answered "too slow" or "not you" is not. No SQL state: libpq lost it."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return isinstance(error, REPEATABLE) or error.sqlstate is None or error.sqlstate in LOST
