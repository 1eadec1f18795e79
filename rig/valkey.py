"""A Valkey server of our own, on a loopback port and a unix socket."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import redis

from rig import binaries
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process, wait_until

if TYPE_CHECKING:
    from pathlib import Path


class Valkey:
    """One server in a temporary directory. `start` first; `close` removes it.

    Data outlives `stop`, `kill` and `restart`. `acl_file` holds Valkey's own `user ...` lines; `replica_of` makes it
    follow another one, with that one's password; `cluster` makes it a cluster of one, with all slots.
    """

    def __init__(
        self,
        *,
        password: str | None = None,
        acl_file: Path | None = None,
        replica_of: Valkey | None = None,
        cluster: bool = False,
    ) -> None:
        self.port = free_port()
        self._password = password
        self._home = temporary_directory("valkey")
        self.socket = self._home / "socket"
        self._settings = self._write_settings(acl_file, replica_of, cluster=cluster)
        self.process = Process(
            name="valkey",
            command=[binaries.valkey().path("valkey-server"), str(self._settings)],
            output=self._home / "log",
        )
        self._follows = replica_of is not None
        self._cluster = cluster

    @property
    def url(self) -> str:
        """The TCP URL, with the password if there is one."""
        return self.url_of()

    def url_of(self, *, user: str = "", password: str | None = None, database: int = 0) -> str:
        """The TCP URL for a user of the ACL file, or for another database."""
        secret = password if password is not None else self._password
        login = "" if secret is None else f"{user}:{secret}@"
        return f"redis://{login}127.0.0.1:{self.port}/{database}"

    @property
    def unix_url(self) -> str:
        """The unix socket's URL."""
        login = "" if self._password is None else f":{self._password}@"
        return f"unix://{login}{self.socket}"

    def start(self) -> None:
        """Run it until it answers, and, if it follows another, until it has all of that one's data."""
        self.process.start(self._answers)
        if self._follows:
            wait_until(self._has_caught_up, "the Valkey replica in step")
        if self._cluster:
            with closing(self.client()) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]
            wait_until(self._has_slots, "the cluster of one")

    def stop(self) -> None:
        """Shut down in order."""
        self.process.stop()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()

    def restart(self) -> None:
        """Stop and start on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def change_places_with(self, replica: Valkey) -> None:
        """Make the replica the primary and follow it; connections stay open, as in a planned failover."""
        with closing(replica.client()) as other, closing(self.client()) as own:
            other.replicaof("NO", "ONE")
            own.replicaof("127.0.0.1", replica.port)

    def flush(self) -> None:
        """Forget everything, in every database."""
        with closing(self.client()) as client:
            client.flushall()

    def client(self) -> redis.Redis:
        """A client of its own for a test to look with; the caller closes it."""
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=5)

    def _answers(self) -> bool:
        with closing(redis.Redis.from_url(self.url, socket_timeout=1)) as client:
            try:
                return bool(client.ping())
            except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
                return True  # It speaks, and an ACL file has closed the default user.
            except redis.RedisError:
                return False

    def _has_caught_up(self) -> bool:
        with closing(self.client()) as client:
            return client.info("replication").get("master_link_status") == "up"

    def _has_slots(self) -> bool:
        with closing(self.client()) as client:
            return "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))  # type: ignore[no-untyped-call]

    def _write_settings(self, acl_file: Path | None, replica_of: Valkey | None, *, cluster: bool) -> Path:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"unixsocket {self.socket}",
            f"dir {self._home}",
            'save ""',
            "appendonly yes",
            "appendfsync no",
            "repl-diskless-sync-delay 0",
        ]
        if cluster:
            lines += ["cluster-enabled yes", f"cluster-port {free_port()}"]
        if self._password is not None:
            lines.append(f"requirepass {self._password}")
        if acl_file is not None:
            lines.append(f"aclfile {acl_file}")
        if replica_of is not None:
            lines.append(f"replicaof 127.0.0.1 {replica_of.port}")
        if replica_of is not None and replica_of._password is not None:
            lines.append(f"primaryauth {replica_of._password}")
        path = self._home / "valkey.conf"
        path.write_text("\n".join(lines) + "\n")
        return path
