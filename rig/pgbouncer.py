"""A real PgBouncer in front of one of our servers."""

from __future__ import annotations

import shutil

import psycopg

from rig import binaries
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.postgres import SUPERUSER, Postgres
from rig.process import Process

SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 4
{more}
"""


class PgBouncer:
    """`mode` is session or transaction; `more` are lines of its configuration."""

    def __init__(self, server: Postgres, mode: str, more: str = "") -> None:
        self.port = free_port()
        user = binaries.server_user()
        programs = binaries.pgbouncer()
        self._home = temporary_directory("pgbouncer", owner=None if user is None else (user.uid, user.gid))
        file = self._home / "pgbouncer.ini"
        file.write_text(SETTINGS.format(server=server.port, user=SUPERUSER, port=self.port, mode=mode, more=more))
        self.process = Process(
            name="pgbouncer",
            command=[programs.path("pgbouncer"), str(file)],
            output=self._home / "log",
            environment=programs.environment,
            directory=self._home,
            user=user,
        )

    def url_of(self, database: str) -> str:
        """The URL of one database, through the pooler."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Run it until it answers."""
        self.process.start(self._answers, seconds=15)

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url_of("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False
