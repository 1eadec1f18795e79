"""Connections to Postgres: one for a command, a few shared ones for a worker. Each statement commits by itself.

No session state survives on a shared connection: only transaction-level locks are ever taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, Self

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from knit.errors import Unreachable
from knit.store import schema
from knit.store.dsn import Dsn, parse
from knit.store.faults import translated
from knit.store.rows import Row

Connection = psycopg.Connection[Row]

# Long enough for a restart of the server to go by unnoticed, short enough that a stopping worker is gone in 10 s.
PATIENCE = 8.0
PAUSE = 0.1
LOST = frozenset({"08000", "08003", "08006", "57P01", "57P02", "57P03"})
REPEATABLE = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


class Source(Protocol):
    """Where connections come from."""

    def connection(self) -> AbstractContextManager[Connection]: ...
    def close(self) -> None: ...


class One:
    """A single connection, made anew when it was lost: what a command of a second's life needs."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._lock = threading.RLock()
        self._connection = connect(dsn)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self._lock:
            if self._connection.closed:
                self._connection = connect(self._dsn)
            yield self._connection

    def close(self) -> None:
        self._connection.close()


class Shared:
    """A pool far smaller than the number of threads: a connection is held for one statement only."""

    def __init__(self, dsn: Dsn, size: int) -> None:
        self._pool = ConnectionPool(
            kwargs=_arguments(dsn),
            connection_class=psycopg.Connection[Row],
            min_size=1,
            max_size=size,
            timeout=PATIENCE,
            open=True,
        )

    def connection(self) -> AbstractContextManager[Connection]:
        return self._pool.connection()

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
        first = One(dsn)
        with translated(), first.connection() as connection:
            schema.bring_up_to_date(connection)
        if connections == 1:
            return cls(first)
        first.close()
        return cls(Shared(dsn, connections))

    def close(self) -> None:
        """Close every connection."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, statement: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        """Run one statement and give its rows.

        A statement whose connection turned out to be dead is run again, so each must come to the same when run
        twice: its first run may have been committed before the answer was lost.
        """
        deadline = time.monotonic() + PATIENCE
        with translated():
            while True:
                try:
                    return self._once(statement, parameters)
                except (psycopg.OperationalError, *REPEATABLE) as e:
                    if not _worth_repeating(e) or time.monotonic() > deadline:
                        raise
                    time.sleep(PAUSE)

    def row(self, statement: str, parameters: Mapping[str, object] | None = None) -> Row | None:
        """The first row, or None."""
        found = self.rows(statement, parameters)
        return found[0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Several statements that hold together. Nothing but statements belongs inside."""
        with translated(), self._waiting() as connection, connection.transaction():
            yield connection

    def _once(self, statement: str, parameters: Mapping[str, object] | None) -> Sequence[Row]:
        with self._waiting() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else ()

    @contextmanager
    def _waiting(self) -> Iterator[Connection]:
        try:
            with self._source.connection() as connection:
                yield connection
        except PoolTimeout:
            message = f"PostgreSQL: no connection within {PATIENCE:.0f} s: it does not answer, or all are in use"
            raise Unreachable(message) from None


def connect(dsn: Dsn) -> Connection:
    """One connection as every part of knit uses it. Raises Misconfigured, CredentialsRejected, Unreachable."""
    with translated():
        return psycopg.Connection[Row].connect(**_arguments(dsn))


def _arguments(dsn: Dsn) -> dict[str, Any]:
    prepares = {} if dsn.prepares else {"prepare_threshold": None}
    return {**dsn.parameters, "autocommit": True, "row_factory": dict_row, **prepares}


def _worth_repeating(error: psycopg.Error) -> bool:
    """A lost connection is; a server that answered "too slow" or "not you" is not. No SQL state: libpq lost it."""
    return isinstance(error, REPEATABLE) or error.sqlstate is None or error.sqlstate in LOST
