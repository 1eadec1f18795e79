"""The rig itself: what other tests stand on must hold on its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import dns.query
import dns.tsig
import dns.tsigkeyring
import dns.update
import psycopg
import pytest
import redis

from rig.challtestsrv import ChallTestSrv
from rig.knot import Knot
from rig.pebble import Pebble
from rig.postgres import Postgres
from rig.valkey import Valkey
from rig.wedge import CaWedgedError
from tests.fix_sockets import SocketBlockedError

ORPHAN = """
import sys
from rig.valkey import Valkey
server = Valkey()
server.start()
print(server.process.pid, server.socket.parent, flush=True)
sys.stdin.read()
"""


def test_each_test_gets_an_empty_database(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_committed_rows_survive_a_killed_postgres(own_postgres: Postgres) -> None:
    url = own_postgres.create_database("kept")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")
    own_postgres.kill()
    own_postgres.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (7,)


def test_a_wrong_postgres_password_is_refused(postgres: Postgres, database_url: str) -> None:
    database = database_url.rpartition("/")[2]
    right = postgres.create_role(f"role_{database}", "right", database=database)
    with psycopg.connect(right) as connection:
        connection.execute("CREATE TABLE t (n integer)")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(right.replace("right", "wrong"))


def test_valkey_keeps_its_data_when_killed_and_hands_it_to_a_replica(own_valkey: Valkey) -> None:
    with closing(own_valkey.client()) as client:
        client.set("name", "value")
    own_valkey.kill()
    own_valkey.start()
    replica = Valkey(replica_of=own_valkey)
    try:
        replica.start()
        with closing(replica.client()) as client:
            assert client.get("name") == "value"
            with pytest.raises(redis.exceptions.ReadOnlyError):
                client.set("name", "other")
    finally:
        replica.close()


def test_knot_takes_a_signed_update_and_refuses_an_unsigned_one(knot: Knot) -> None:
    keyring = dns.tsigkeyring.from_text({knot.key.name: (knot.key.algorithm, knot.key.secret)})
    signed = dns.update.UpdateMessage("knit.example.", keyring=keyring)
    signed.add("_acme-challenge", 1, "TXT", '"proof"')
    unsigned = dns.update.UpdateMessage("knit.example.")
    unsigned.add("_acme-challenge", 1, "TXT", '"forged"')
    for message in (signed, unsigned):
        dns.query.tcp(message, "127.0.0.1", port=knot.port, timeout=5)
    assert knot.txt("_acme-challenge.knit.example") == ["proof"]


def test_a_ca_that_hangs_is_named(pebble: Pebble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rig.wedge.STUCK_SECONDS", 0.5)
    pebble.raise_if_wedged()
    pebble.process.pause()
    with pytest.raises(CaWedgedError, match="the CA wedged"):
        pebble.raise_if_wedged()
    pebble.process.resume()


def test_the_ca_starts_with_nothing_counted(pebble: Pebble, challtestsrv: ChallTestSrv) -> None:
    challtestsrv.set_txt("_acme-challenge.knit.example", "proof")
    assert (pebble.orders(), pebble.finalized(), pebble.issued()) == ([], [], [])
    assert pebble.roots().startswith("-----BEGIN CERTIFICATE-----")


def test_tests_cannot_reach_beyond_loopback() -> None:
    with closing(socket.socket()) as outward, pytest.raises(SocketBlockedError):
        outward.connect(("192.0.2.1", 443))


def test_nothing_outlives_a_killed_owner() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    with owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and (_runs(int(pid)) or Path(directory).exists()):
        time.sleep(0.05)
    assert not _runs(int(pid))
    assert not Path(directory).exists()


def _runs(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
