"""Sessions for what tests and rig ask databases: a new one for each statement costs the server 15 ms."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

import psycopg

KEPT = 2
"""As many databases are asked in turn: a test's own, and the one in which they are made and dropped."""

Connection = psycopg.Connection[Any]


class _Sessions:
    """With the databases that were asked last. A thread, or a fork of this process, has its own for each statement."""

    def __init__(self) -> None:
        self._kept: dict[str, Connection] = {}
        self._owner = os.getpid()

    def ask(self, url: str, statement: bytes, parameters: tuple[object, ...]) -> list[Any]:
        if os.getpid() != self._owner or threading.current_thread() is not threading.main_thread():
            with _connected(url) as connection:
                return _rows(connection, statement, parameters)
        return _rows(self._to(url), statement, parameters)

    def _to(self, url: str) -> Connection:
        connection = self._kept.pop(url, None)
        if connection is None or not _lives(connection):
            connection = _connected(url)
        self._kept[url] = connection
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept))).close()
        return connection

    def leave(self, url: str) -> None:
        if (connection := self._kept.pop(url, None)) is not None:
            connection.close()

    def end(self) -> None:
        if os.getpid() == self._owner:
            for connection in self._kept.values():
                connection.close()
        self._kept.clear()


def _connected(url: str) -> Connection:
    # Tests change tables, which a prepared statement does not bear.
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def _lives(connection: Connection) -> bool:
    """Whether the server has not ended it since it was last used; it is closed if it has."""
    try:
        connection.execute("")
    except psycopg.Error:
        connection.close()
        return False
    return True


def _rows(connection: Connection, statement: bytes, parameters: tuple[object, ...]) -> list[Any]:
    cursor = connection.execute(statement, parameters or None)
    return cursor.fetchall() if cursor.description else []


_SESSIONS = _Sessions()
atexit.register(_SESSIONS.end)


def sql(url: str, statement: str, *parameters: object) -> list[Any]:
    """Run one statement, committed at once; its rows, if it gives any. Raises psycopg.Error."""
    return _SESSIONS.ask(url, statement.encode(), parameters)


def leave(url: str) -> None:
    """End the session with this database, if there is one."""
    _SESSIONS.leave(url)
