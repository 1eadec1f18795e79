"""Connections to Postgres: one for a command, a few shared ones for a worker. Each statement commits by itself.

No session state survives on a shared connection: only transaction-level locks are ever taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol, Self, TypeVar

import psycopg

from knit.store import schema
from knit.store.connection import PATIENCE, Connection, Door
from knit.store.dsn import NAME, parse
from knit.store.faults import in_our_words
from knit.store.queries import Row

Cursor = psycopg.Cursor[Row]
T = TypeVar("T")

PAUSE = 0.1
MIGRATING = 600.0
LOST = frozenset({"08000", "08003", "08006", "57P01", "57P02", "57P03", "57P05"})
REPLANNED = "RevalidateCachedQuery"
"""Where PostgreSQL finds that a table's columns are no longer those that a statement was prepared for."""

STANDBY = psycopg.errors.ReadOnlySqlTransaction
"""A server that takes no writes: after a failover, one that is no longer the primary."""
REPEATABLE = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


class Source(Protocol):
    """Where connections come from: each is known to be alive when it is taken, as far as can be told without asking."""

    def take(self) -> Connection: ...
    def give(self, connection: Connection) -> None: ...
    def close(self) -> None: ...


class One:
    """A single connection, made anew when it was lost: what a command of a second's life needs."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._lock = threading.RLock()
        self._connection = door.open()

    def take(self) -> Connection:
        with ExitStack() as held:
            held.enter_context(self._lock)
            if not self._connection.is_idle():
                self._connection.close()
                self._connection = self._door.open()
            held.pop_all()
        return self._connection

    def give(self, connection: Connection) -> None:
        self._lock.release()

    def close(self) -> None:
        self._connection.close()


class Shared:
    """Far fewer connections than threads: one is held for one statement only."""

    def __init__(self, door: Door, size: int) -> None:
        self._door = door
        self._room = threading.BoundedSemaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    def take(self) -> Connection:
        if not self._room.acquire(timeout=PATIENCE):
            message = f"all connections of this process have been busy for {PATIENCE:.0f} s"
            raise psycopg.OperationalError(message)
        try:
            return self._usable() or self._door.open()
        except BaseException:
            self._room.release()
            raise

    def give(self, connection: Connection) -> None:
        if self._closed or not connection.is_idle():
            connection.close()
        else:
            self._idle.append(connection)
        self._room.release()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _usable(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_idle():
                return connection
            connection.close()
        return None


class Database:
    """Runs statements, and speaks of every failure in knit's words."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @classmethod
    def open(cls, url: str, *, connections: int = 1, name: str = NAME) -> Self:
        """Connect, and bring the schema up to date. With more than one connection, threads share them.

        `name` is what PostgreSQL and the events call whoever connects, unless the URL says it.

        Raises Misconfigured for a bad URL or a schema of a newer knit, CredentialsRejected, Unreachable.
        """
        door = Door(parse(url, name=name))
        with ExitStack() as undo, _told():
            source = One(door) if connections == 1 else Shared(door, connections)
            undo.callback(source.close)
            with _lent(source) as connection:
                connection.patience = MIGRATING
                schema.bring_up_to_date(connection)
                connection.patience = PATIENCE
            undo.pop_all()
            return cls(source)

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

    def together(self, work: Callable[[Connection], T]) -> T:
        """Several statements that hold together: `work` does nothing else, and may be run again from its beginning.

        As with `write`, its first run may have been committed before the answer was lost.
        """

        def committed(connection: Connection) -> T:
            with connection.transaction():
                return work(connection)

        return self._patiently(committed)

    def _run(self, take: Callable[[Cursor], T], statement: str, parameters: Mapping[str, object] | None) -> T:
        return self._patiently(lambda connection: take(connection.execute(statement, parameters)))

    def _patiently(self, work: Callable[[Connection], T]) -> T:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._once(work)
            except psycopg.Error as e:
                if not _worth_repeating(e) or time.monotonic() > deadline:
                    raise in_our_words(e) from None
            time.sleep(PAUSE)

    def _once(self, work: Callable[[Connection], T]) -> T:
        """Closes a session that would refuse the same again, such as one to a server that is now a standby."""
        connection = self._source.take()
        try:
            return work(connection)
        except psycopg.Error as e:
            if _is_stale(e):
                connection.close()
            raise
        finally:
            self._source.give(connection)


@contextmanager
def _told() -> Iterator[None]:
    """Every failure in knit's words."""
    try:
        yield
    except psycopg.Error as e:
        raise in_our_words(e) from None


@contextmanager
def _lent(source: Source) -> Iterator[Connection]:
    """A connection for as long as the block takes: it commits each statement by itself, so there is nothing to end."""
    connection = source.take()
    try:
        yield connection
    finally:
        source.give(connection)


def _is_stale(error: psycopg.Error) -> bool:
    return isinstance(error, STANDBY) or error.diag.source_function == REPLANNED


def _fetched(cursor: Cursor) -> Sequence[Row]:
    return cursor.fetchall()


def _counted(cursor: Cursor) -> int:
    return cursor.rowcount


def _worth_repeating(error: psycopg.Error) -> bool:
    """A lost connection is; a server that answered "too slow" or "not you" is not. No SQL state: libpq lost it."""
    if _is_stale(error):
        return True
    if not isinstance(error, psycopg.OperationalError):
        return False
    return isinstance(error, REPEATABLE) or error.sqlstate is None or error.sqlstate in LOST
