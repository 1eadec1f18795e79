"""One connection to PostgreSQL as every part of knit uses it: with an end to every wait, directly or through a pooler.

Through a pooler (PgBouncer) each statement may run in another session: nothing is set for a session there that the
pooler does not carry along, and nothing is prepared.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from knit.errors import Misconfigured
from knit.store.dsn import Dsn
from knit.store.loaders import Instants, Spans, Utf8
from knit.store.queries import Row
from knit.store.texts import Shown, ShownDumper

T = TypeVar("T")

# Long enough for a restart of the server to go by unnoticed, short enough that a stopping worker is gone in 10 s.
PATIENCE = 8.0
PARTING = 1.0
CARRIED = "select set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false)"
DIRECT = "select current_setting('knit.session', true) as session"


class Overdue(errors.QueryCanceled):
    """The server did not answer before the deadline; whether it will do what was asked is not known."""


class Connection(psycopg.Connection[Row]):
    """Waits for the server for `patience` seconds at most, whatever it is asked: COMMIT has no limit of its own."""

    patience: float = PATIENCE

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """See psycopg. A connection that was waited for in vain is closed: its state is not known."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except errors._WaitTimeout:  # noqa: SLF001 -- what psycopg says that this raises
            self._give_up()
            message = f"no answer for {self.patience:.0f} s"
            raise Overdue(message) from None

    def is_idle(self) -> bool:
        """Whether it can be used. A server that has ended the session has said so by now, and it is there to read."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            # Nor is one that is closed.
            return False
        heard = select.poll()
        heard.register(self.pgconn.socket, select.POLLIN)
        return not heard.poll(0)

    def _give_up(self) -> None:
        """Without the cancellation a server that waits for its standby would go on holding its locks."""
        with suppress(psycopg.Error):
            self.cancel_safe(timeout=PARTING)
        self.close()


class Door:
    """Opens connections to one server. The first one tells whether there is a pooler in between."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._pooled: bool | None = None

    def open(self) -> Connection:
        """One more connection. Raises psycopg's errors, or Misconfigured for settings that a pooler cannot pass on."""
        if self._pooled is None:
            connection = self._first()
            if connection is not None:
                return connection
        return self._through_pooler() if self._pooled else _opened(self._dsn.direct, self._dsn.prepares)

    def _first(self) -> Connection | None:
        try:
            connection = _opened(self._dsn.direct, self._dsn.prepares)
        except psycopg.OperationalError as e:
            if "startup parameter" not in str(e) and "command-line options" not in str(e):
                raise
        else:
            found = connection.execute(DIRECT).fetchone()
            if found is not None and found["session"]:
                self._pooled = False
                return connection
            connection.close()
        self._pooled = True
        return None

    def _through_pooler(self) -> Connection:
        if self._dsn.own_settings:
            names = ", ".join(self._dsn.own_settings)
            message = f"KNIT_DB_URL: {names} cannot be set through a pooler: use ALTER ROLE or ALTER DATABASE ... SET"
            raise Misconfigured(message)
        connection = _opened(self._dsn.pooled, prepares=False)
        connection.execute(CARRIED)
        return connection


def _opened(parameters: dict[str, str], prepares: bool) -> Connection:  # noqa: FBT001 -- the DSN's word
    prepared: dict[str, Any] = {} if prepares else {"prepare_threshold": None}
    try:
        connection = Connection.connect(**parameters, autocommit=True, row_factory=dict_row, **prepared)  # type: ignore[arg-type]
    except psycopg.OperationalError as e:
        raise type(e)(_without_user(str(e), parameters.get("user"))) from None
    except psycopg.ProgrammingError:
        # The text may quote the DSN.
        message = "KNIT_DB_URL: a value in it is not one that libpq takes"
        raise Misconfigured(message) from None
    except UnicodeError:
        # psycopg looks names up itself, and Python does not look up just any.
        message = "PostgreSQL: the host in KNIT_DB_URL or PGHOST is not a host name"
        raise Misconfigured(message) from None
    connection.adapters.register_loader("timestamptz", Instants)
    connection.adapters.register_loader("interval", Spans)
    connection.adapters.register_dumper(Shown, ShownDumper)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        # Such a database holds any bytes; asked for UTF-8, it would refuse to show a row that is not.
        connection.execute("set client_encoding to sql_ascii")
        for kind in ("text", "varchar", "name"):
            connection.adapters.register_loader(kind, Utf8)
    return connection


def _without_user(text: str, user: str | None) -> str:
    """Libpq and the server say who was refused; whoever reads a log need not know."""
    return text if not user else text.replace(f'"{user}"', '"***"').replace(f": {user}\n", ": ***\n")
