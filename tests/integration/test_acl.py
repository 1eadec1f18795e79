"""The users of compose/: each can do its work with knit's own code, and nothing beside it.

The servers run with the very configuration files of compose/, only addresses and folders are replaced.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from knit.core.model.attempt import AttemptId
from knit.core.model.certificate import Bundle
from knit.core.model.revocation import RevocationId
from knit.errors import CredentialsRejected
from knit.valkey.connect import check_keeps_values, connect, server_run_id
from knit.valkey.copies import ValkeyCopies
from knit.valkey.hints import Hints
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from knit.valkey.reader import ValkeyReader
from knit.valkey.reporting import ReportWriter, rule
from knit.valkey.reports import ValkeyReports
from knit.valkey.site import Site
from knit.valkey.staging import ValkeyStaging
from rig import binaries
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process, wait_until
from tests.fix_rig import running

COMPOSE = Path(__file__).parents[2] / "compose"
LAYOUT = Layout()
ONE_TRY = Retry(NoBackoff(), 0)
VALUE = b'{"privkey": "a", "knit": {"generation": 1}}'

NOBODYS = (
    "ACL WHOAMI", "ACL LIST", "ACL SETUSER me on nopass +@all ~*", "BGSAVE", "CLIENT KILL TYPE normal", "CLIENT LIST",
    "CLUSTER INFO", "COMMANDLOG GET 1 slow", "CONFIG GET *", "CONFIG SET maxmemory-policy allkeys-lru", "DBSIZE",
    "DEBUG SLEEP 0", "FAILOVER", "FLUSHALL", "FLUSHDB", "FUNCTION LIST", "KEYS *", "LATENCY LATEST", "MEMORY STATS",
    "MODULE LIST", "MONITOR", "PUBLISH other:channel hello", "RANDOMKEY", "REPLICAOF NO ONE", "SAVE",
    "SCRIPT FLUSH", "SELECT 1", "SHUTDOWN NOSAVE", "SLOWLOG GET", "SORT certs:a", "SWAPDB 0 1", "GET other:key",
    "SET other:key x", "DEL other:key", "SUBSCRIBE other:channel", "PSUBSCRIBE *", "PUBSUB CHANNELS",
)  # fmt: skip
"""What neither publisher nor watcher may do."""

WATCHERS = (
    "SCAN 0", "HGET knit:index:report:web1 head",
    "SET certs:a x", "DEL certs:a", "UNLINK certs:a", "SETRANGE certs:a 0 x", "EXPIRE certs:a 1",
    "RENAME certs:a certs:b", "COPY certs:a certs:b", "SADD knit:index x", "SREM knit:index certs:a",
    "DEL knit:index", "SET knit:index:revision 1", "INCR knit:index:revision", "ZADD knit:index:revisions 1 certs:a",
    "GETDEL certs:a", "GETEX certs:a PERSIST", "HGETALL knit:index:staging:1", "HGET knit:index:staging:1 privkey",
    "GET knit:index:revoking:1:1", "GET knit:index:staging:1",
    "GETRANGE knit:index:staging:1 0 -1", "HSET knit:index:staging:1 privkey x",
    "DUMP certs:a", "PUBLISH knit:index:changed 1", "EVAL return 0",
    "EVALSHA 0000000000000000000000000000000000000000 0", "PSYNC ? -1", "SYNC", "REPLCONF listening-port 1", "INFO",
)  # fmt: skip
"""What a watcher may not do besides."""


REPORTERS = (
    *WATCHERS, "GET certs:a", "GETRANGE certs:a 0 -1", "SMEMBERS knit:index", "GET knit:index:revision",
    "ZRANGEBYSCORE knit:index:revisions 0 1", "SUBSCRIBE knit:index:changed", "HSET knit:index:report:web2 head x",
    "UNLINK knit:index:report:web2", "PEXPIRE knit:index:report:web2 1", "HSET knit:index:report:web1:x head x",
    "HGETALL knit:index:report:web1", "HGET knit:index:report:web1 head", "SET knit:index:report:web1 x",
    "DEL knit:index:report:web1", "EXPIRE knit:index:report:web1 1", "RENAME knit:index:report:web1 certs:a",
    "HSET knit:index 1 x", "HSET certs:a head x", "UNLINK certs:a", "PEXPIRE certs:a 1", "EXISTS certs:a",
    "MULTI", "WAIT 1 1", "ACL GETUSER publisher", "CLIENT SETNAME x", "HDEL knit:index:report:web1 head",
)  # fmt: skip
"""What the user of a node's reports may not do besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One Valkey as compose/ starts it."""

    process: Process
    port: int
    secrets: Path

    def start(self) -> None:
        self.process.start(self.answers)

    def close(self) -> None:
        self.process.kill()

    def answers(self) -> bool:
        """As the health check asks: the user `probe` may do nothing else."""
        with closing(redis.Redis(port=self.port, username="probe", password="probe", socket_timeout=1)) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def url(self, name: str, file: str = "valkey-url") -> str:
        """The URL that `setup` wrote for a client, on this port."""
        text = (self.secrets / name / file).read_text()
        return f"{text.rpartition('@')[0]}@127.0.0.1:{self.port}/0"


def server(secrets: Path, config: str, name: str, follows: int = 0) -> Server:
    port, home = free_port(), temporary_directory("acl")
    text = (COMPOSE / "valkey" / config).read_text()
    for there, here in (
        ("port 6379", f"port {port}"),
        ("bind * -::*", "bind 127.0.0.1"),
        ("/secrets/", f"{secrets / name}/"),
        ("dir /data", f"dir {home}"),
        ("replicaof valkey 6379", f"replicaof 127.0.0.1 {follows}"),
    ):
        text = text.replace(there, here)
    path = home / "valkey.conf"
    path.write_text(text)
    command = [binaries.valkey().path("valkey-server"), str(path)]
    return Server(process=Process(name=name, command=command, output=home / "log"), port=port, secrets=secrets)


@pytest.fixture(scope="module")
def secrets() -> Path:
    folder = temporary_directory("secrets")
    script = [sys.executable, str(COMPOSE / "setup.py"), str(folder), str(COMPOSE / "valkey" / "users.acl")]
    subprocess.run(script, check=True)
    return folder


@pytest.fixture(scope="module")
def primary(secrets: Path) -> Iterator[Server]:
    yield from running(lambda: server(secrets, "primary.conf", "valkey"))


@pytest.fixture(scope="module")
def replica(secrets: Path, primary: Server) -> Iterator[Server]:
    yield from running(lambda: server(secrets, "replica.conf", "replica", follows=primary.port))


def refused(url: str, command: str) -> bool:
    """Whether the server says that this user may not do this."""
    with closing(redis.Redis.from_url(url, socket_timeout=2)) as client:
        try:
            client.execute_command(*command.split(" "))  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            # DEBUG is switched off for everybody, before rights are looked at.
            return isinstance(error, redis.exceptions.NoPermissionError) or "command not allowed" in str(error)
        return False


def published(primary: Server, key: str) -> None:
    with closing(connect(primary.url("worker"), name="knit-test")) as link:
        publication = ValkeyPublication(link, LAYOUT, "test")
        publication.claim(None)
        publication.publish([(key, VALUE, publication.look([key])[key].token)])


def test_the_publisher_stages_publishes_surveys_and_prunes(primary: Server) -> None:
    with closing(connect(primary.url("worker"), name="knit-test")) as link:
        staging, publication = ValkeyStaging(link, LAYOUT, "test"), ValkeyPublication(link, LAYOUT, "test")
        assert publication.claim(None)
        publication.rehearse("certs:one")
        staging.put(AttemptId(1), Bundle(fullchain=b"", privkey=b"key"))
        assert staging.get(AttemptId(1)) == Bundle(fullchain=b"", privkey=b"key")
        staging.discard([AttemptId(1)])
        copies, at = ValkeyCopies(link, LAYOUT, "test"), datetime.now(UTC)
        copies.put(RevocationId(1), VALUE, at + timedelta(days=1))
        assert copies.get(RevocationId(1)) == VALUE
        copies.discard(RevocationId(1))
        assert copies.get(RevocationId(1)) is None
        assert publication.publish([("certs:one", VALUE, "")]) == [None]
        assert publication.live(["certs:one"]) == {"certs:one": VALUE}
        assert "certs:one" in publication.survey().members
        assert publication.prune({"certs:one": "1"}) == {"certs:one"}
        assert "certs:one" not in publication.survey().members


def test_the_publisher_may_ask_what_a_worker_checks_at_its_start(primary: Server) -> None:
    with closing(connect(primary.url("worker"), name="knit-test")) as link:
        assert check_keeps_values(link) == []
        assert server_run_id(link)


def test_the_watcher_reads_and_hears_on_a_replica(primary: Server, replica: Server) -> None:
    with ExitStack() as opened:
        link = opened.enter_context(closing(connect(replica.url("node"), name="knit-test")))
        reader, hints = ValkeyReader(link.site, LAYOUT), Hints(link.site, LAYOUT)
        opened.callback(hints.close)
        opened.callback(reader.close)
        published(primary, "certs:zero")
        wait_until(lambda: "certs:zero" in reader.index(), "the replica in step")
        wait_until(lambda: hints.wait(0.1), "the subscription")
        before = reader.revision() or 0
        published(primary, "certs:two")
        wait_until(lambda: hints.wait(0.2), "the hint on the replica")
        wait_until(lambda: "certs:two" in reader.index(), "the value on the replica")
        assert (reader.revision() or 0) > before
        assert "certs:two" in reader.changed(before)
        assert reader.values(["certs:two"]) == {"certs:two": VALUE}


def test_a_watcher_may_also_read_the_primary(primary: Server) -> None:
    published(primary, "certs:three")
    with (
        closing(connect(primary.url("node"), name="knit-test")) as link,
        closing(ValkeyReader(link.site, LAYOUT)) as reader,
    ):
        assert "certs:three" in reader.index()


@pytest.mark.parametrize("command", NOBODYS)
def test_neither_publisher_nor_watcher_may(command: str, primary: Server, replica: Server) -> None:
    assert refused(primary.url("worker"), command)
    assert refused(replica.url("node"), command)


@pytest.mark.parametrize("command", WATCHERS)
def test_a_watcher_may_not(command: str, primary: Server) -> None:
    assert refused(primary.url("node"), command)


def test_a_node_writes_its_report_and_the_workers_read_it(primary: Server) -> None:
    site = Site.of(primary.url("node", "report-url"), name="knit-test")
    with closing(ReportWriter(site, LAYOUT, "web1")) as writer:
        writer.begin(whole=True)
        assert writer.write({"head": b"one", "7": b"two"}, timedelta(minutes=30))
        assert not writer.write({"head": b"one"}, timedelta(minutes=30))
    with closing(ValkeyReports(Site.of(primary.url("worker"), name="knit-test"), LAYOUT)) as reports:
        assert reports.names() == ["web1"]
        (found,) = reports.heads(["web1"]).values()
        assert isinstance(found, tuple)
        assert found[0] == b"one"
        assert reports.parts("web1", [7, 8]) == {7: b"two"}


@pytest.mark.parametrize("command", REPORTERS)
def test_a_nodes_report_is_all_that_its_user_may_write(command: str, primary: Server) -> None:
    assert refused(primary.url("node", "report-url"), command)


@pytest.mark.parametrize("command", NOBODYS)
def test_nor_may_it_do_what_nobody_may(command: str, primary: Server) -> None:
    assert refused(primary.url("node", "report-url"), command)


def test_the_rule_that_is_printed_for_a_node_is_the_one_that_is_tested() -> None:
    (line,) = (
        line
        for line in (COMPOSE / "valkey" / "users.acl").read_text().splitlines()
        if line.startswith("user reporter ")
    )
    assert line == f"user reporter on {rule(LAYOUT, 'web1')}"


def test_the_publisher_is_not_known_to_a_replica(replica: Server) -> None:
    with (
        closing(connect(replica.url("worker"), name="knit-test")) as link,
        pytest.raises(CredentialsRejected, match="WRONGPASS"),
    ):
        ValkeyPublication(link, LAYOUT, "test").survey()


def test_without_a_password_nobody_gets_in(primary: Server) -> None:
    for command in ("GET certs:a", "INFO", "PING"):
        with closing(redis.Redis(port=primary.port, retry=ONE_TRY)) as client, pytest.raises(redis.AuthenticationError):
            client.execute_command(*command.split(" "))  # type: ignore[no-untyped-call]


def test_the_health_checks_user_may_only_ping(primary: Server) -> None:
    url = f"redis://probe:probe@127.0.0.1:{primary.port}/0"
    for command in ("GET certs:a", "SMEMBERS knit:index", "INFO", "CLIENT LIST", "CONFIG GET *"):
        assert refused(url, command)


def test_no_log_of_commands_holds_a_private_key(primary: Server, secrets: Path) -> None:
    settings = (COMPOSE / "valkey" / "primary.conf").read_text()
    assert "commandlog-execution-slower-than -1" in settings
    published(primary, "certs:four")
    assert b"privkey" not in primary.process.output.read_bytes()


def test_setup_makes_passwords_once_and_keeps_them_off_the_access_lists(secrets: Path) -> None:
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    subprocess.run([sys.executable, str(COMPOSE / "setup.py"), str(secrets), "/nowhere"], check=True)
    assert {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()} == before
    password = (secrets / "worker" / "valkey-url").read_text().partition("publisher:")[2].partition("@")[0]
    assert len(password) > 20
    assert all(password.encode() not in text for path, text in before.items() if path.parent.name != "worker")
