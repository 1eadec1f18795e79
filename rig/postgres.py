"""A PostgreSQL server of our own, over TCP on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from rig import binaries, looking
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process, RigError, wait_until

SUPERUSER = "rig"
# The superuser comes in freely from loopback; every other role needs its password.
ACCESS = f"host all {SUPERUSER} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
# A killed server keeps what it committed (the kernel has it); only a machine that loses power would not.
UNSAFE_BUT_FAST = ("fsync=off", "full_page_writes=off")


class Postgres:
    """One cluster in a temporary directory. `start` first; `close` removes it.

    With `durable`, it keeps its promises to disk as in production. With `log_statements`, every statement goes to
    `log_path` with its parameters, so that a test can look for what must never be in it.
    """

    def __init__(self, *, durable: bool = False, log_statements: bool = False) -> None:
        self.port = free_port()
        self._programs = binaries.postgres()
        self._user = binaries.server_user()
        owner = None if self._user is None else (self._user.uid, self._user.gid)
        self._home = temporary_directory("postgres", owner=owner)
        self.data = self._home / "data"
        self.log_path = self._home / "log"
        self.process = self._server(durable=durable, log_statements=log_statements)

    @property
    def url(self) -> str:
        """The superuser's URL of the maintenance database."""
        return self.url_of("postgres")

    def url_of(self, database: str, *, role: str = SUPERUSER, password: str | None = None) -> str:
        """The URL of one database."""
        secret = "" if password is None else f":{password}"
        return f"postgresql://{role}{secret}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the cluster if this is the first start, then run it until it takes connections."""
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self.process.start(self._answers, seconds=30)

    def stop(self) -> None:
        """Shut down as an administrator would: sessions are ended, data is whole."""
        self.process.stop(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server and all its sessions; it recovers at the next start."""
        self.process.kill()
        # Sessions have groups of their own and leave only when they notice: the next start must wait for them.
        wait_until(lambda: not self._backends(), "PostgreSQL's sessions gone")
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def restart(self) -> None:
        """Stop and start on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Make a database, empty or a copy of one that nobody is connected to; returns its URL."""
        looking.leave(self.url_of(template))
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        # Through the log, as servers since 15 would have it, takes twice as long.
        self._execute(copy + sql.SQL(" STRATEGY FILE_COPY" if self._version() >= 15 else ""))
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending whatever still uses it."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def create_role(self, name: str, password: str, *, database: str) -> str:
        """Make a role that must give its password and owns the schema `public` of `database`; returns its URL."""
        self._execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)),
        )
        grant = sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(name))
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            connection.execute(grant)
        return self.url_of(database, role=name, password=password)

    def dump(self, database: str) -> str:
        """Everything in a database as text, for scanners."""
        command = [self._programs.path("pg_dump"), "--inserts", self.url_of(database)]
        return self._run(command)

    def _execute(self, statement: sql.Composed) -> None:
        looking.sql(self.url, statement.as_string())

    def _version(self) -> int:
        return int((self.data / "PG_VERSION").read_text())

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _backends(self) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").readlink() == self.data:
                    found.append(int(entry.name))
            except OSError:
                continue  # It has just ended, or is another user's.
        return found

    def _initialise(self) -> None:
        self._run(["cp", "--archive", str(new_cluster()), str(self.data)])

    def _run(self, command: list[str]) -> str:
        return _run(command, self._home)

    def _server(self, *, durable: bool, log_statements: bool) -> Process:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "shared_buffers=32MB",
            "timezone=UTC",
            "log_timezone=UTC",
            *(() if durable else UNSAFE_BUT_FAST),
            *(("log_statement=all", "log_parameter_max_length=-1") if log_statements else ()),
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        return Process(
            name="postgres",
            command=[self._programs.path("postgres"), "-D", str(self.data), *options],
            output=self.log_path,
            environment=self._programs.environment,
            directory=self._home,
            user=self._user,
        )


@cache
def new_cluster() -> Path:
    """A cluster that was never started, to copy: that takes a fraction of the time that making one takes."""
    user = binaries.server_user()
    home = temporary_directory("postgres", owner=None if user is None else (user.uid, user.gid))
    made = home / "new"
    initdb = [binaries.postgres().path("initdb"), f"--pgdata={made}", f"--username={SUPERUSER}", "--wal-segsize=1"]
    _run([*initdb, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"], home)
    (made / "pg_hba.conf").write_text(ACCESS)
    return made


def _run(command: list[str], folder: Path) -> str:
    """Run a program as the servers' user; gives its output."""
    user = binaries.server_user()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **binaries.postgres().environment},
        capture_output=True,
        text=True,
        check=False,
        user=None if user is None else user.uid,
        group=None if user is None else user.gid,
        extra_groups=None if user is None else (),
    )
    if done.returncode != 0:
        message = f"{Path(command[0]).name} failed: {done.stderr.strip()}"
        raise RigError(message)
    return done.stdout
