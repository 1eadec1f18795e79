"""One session for what a test itself asks a database: a new one for each statement costs the server 15 ms."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

import psycopg


class _Session:
    """With the database that was asked last. Another thread, or a fork of this process, has one for each statement."""

    def __init__(self) -> None:
        self._url = ""
        self._connection: psycopg.Connection[Any] | None = None
        self._owner = os.getpid()

    def ask(self, url: str, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        if os.getpid() != self._owner or threading.current_thread() is not threading.main_thread():
            with _connected(url) as connection:
                return _rows(connection, statement, parameters)
        return _rows(self._to(url), statement, parameters)

    def _to(self, url: str) -> psycopg.Connection[Any]:
        if self._connection is None or url != self._url or not _lives(self._connection):
            self.end()
            self._connection, self._url = _connected(url), url
        return self._connection

    def end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and os.getpid() == self._owner:
            connection.close()


def _connected(url: str) -> psycopg.Connection[Any]:
    # Tests change tables, which a prepared statement does not bear.
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def _lives(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has not ended it since it was last used."""
    try:
        connection.execute("")
    except psycopg.Error:
        return False
    return True


def _rows(connection: psycopg.Connection[Any], statement: str, parameters: tuple[object, ...]) -> list[Any]:
    cursor = connection.execute(statement.encode(), parameters or None)
    return cursor.fetchall() if cursor.description else []


_SESSION = _Session()
atexit.register(_SESSION.end)


def sql(url: str, statement: str, *parameters: object) -> list[Any]:
    """Run one statement; its rows, if it gives any. Raises psycopg.Error."""
    return _SESSION.ask(url, statement, parameters)
