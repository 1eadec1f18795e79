"""Private keys and credentials stay where they belong, whatever fails; and the scanner that says so can see."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from knit.store.accounts.sealing import AccountRef, Seal
from rig.bind import Bind
from rig.postgres import Postgres
from rig.process import wait_until
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance import hasty
from tests.acceptance.canaries import Monitor, ProcessSampler, Secret, files_below, key_blocks, leaks
from tests.acceptance.conftest import on_stage
from tests.acceptance.scene import ZONE, Scene, Servers
from tests.fix_rig import running

FIRST = tuple(f"f{number:02}.{ZONE}" for number in range(8))
PASSWORD = "Pa55-of-the-database-Zq8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A scene with ears everywhere."""

    scene: Scene
    postgres: Postgres
    commands: Monitor
    queued: Monitor
    processes: ProcessSampler

    def places(self) -> dict[str, bytes]:
        """Everything that is looked through, by name."""
        servers = self.scene.servers
        with closing(redis.Redis.from_url(servers.queue.url)) as client:
            keys = sorted(cast("list[bytes]", client.keys("*")))
            dump = b"\n".join(key + b" " + repr(contents(client, key)).encode() for key in keys)
        with closing(servers.queue.client()) as client:
            files = Path(cast("dict[str, str]", client.config_get("dir"))["dir"])
        return {
            "keys of the queue": dump,
            "files of the queue": files_below(files),
            "MONITOR of the queue": self.queued.text(),
            "logs": self.scene.knit.logs().encode(),
            "database": self.postgres.dump("knit").encode(),
            "statement log": self.postgres.log_path.read_bytes(),
            "arguments": b"\n".join(self.processes.arguments),
            "environments": b"\n".join(self.processes.environments),
            "home and temporary files": files_below(self.scene.knit.home),
        }


def contents(client: redis.Redis, key: bytes) -> Any:
    """A queue's key, whatever its type."""
    readers: dict[bytes, Callable[[], Any]] = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
    }
    kind = cast("bytes", client.type(key))
    return readers[kind]() if kind in readers else None


@pytest.fixture
def watched(bind: Bind, scripted_ca: ScriptedCA, own_valkey: Valkey) -> Iterator[Watched]:
    for postgres in running(lambda: Postgres(log_statements=True)):
        for queue in running(Valkey):
            postgres.create_database("knit")
            database = postgres.create_role("knitter", PASSWORD, database="knit")
            servers = Servers(ca=scripted_ca, dns=bind, database=database, valkey=own_valkey, queue=queue)
            for scene in on_stage(servers, forks=False):
                with (
                    closing(Monitor(own_valkey)) as commands,
                    closing(Monitor(queue)) as queued,
                    closing(ProcessSampler()) as processes,
                ):
                    processes.start()
                    yield Watched(scene=scene, postgres=postgres, commands=commands, queued=queued, processes=processes)


@contextmanager
def full(client: redis.Redis) -> Iterator[str]:
    client.config_set("maxmemory", "1")
    yield "OOM"
    client.config_set("maxmemory", "0")


@contextmanager
def demoted(client: redis.Redis) -> Iterator[str]:
    client.replicaof("127.0.0.1", "1")
    yield "READONLY"
    client.replicaof("NO", "ONE")


@contextmanager
def forbidden(client: redis.Redis) -> Iterator[str]:
    cast("Any", client).execute_command("ACL", "SETUSER", "default", "-@write")
    yield "NOPERM"
    cast("Any", client).execute_command("ACL", "SETUSER", "default", "+@write")


@contextmanager
def unsaved(client: redis.Redis) -> Iterator[str]:
    folder = cast("dict[str, str]", client.config_get("dir"))["dir"]
    (Path(folder) / "dump.rdb").mkdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a failed save")
    yield "MISCONF"
    client.config_set("save", "")


FAULTS = (full, demoted, forbidden, unsaved)


@pytest.mark.timeout(180)
def test_no_secret_leaks_while_valkey_refuses_keys_for_every_reason_it_has(watched: Watched) -> None:
    scene, knit = watched.scene, watched.scene.knit
    secret_file, scratch = watched.postgres.data.parent / "tsig", knit.home / "scratch"
    secret_file.write_text(scene.servers.dns.key.secret)
    scratch.mkdir()
    seal_key, seal_file = os.urandom(32), watched.postgres.data.parent / "seal"
    seal_file.write_text(base64.b64encode(seal_key).decode() + "\n")
    del knit.settings["DNSUPDATE_TSIG_SECRET"]
    knit.settings |= {
        "DNSUPDATE_TSIG_SECRET_FILE": str(secret_file),
        "KNIT_SECRET_KEY_FILE": str(seal_file),
        "KNIT_LOG_LEVEL": "debug",
        "TMPDIR": str(scratch),
    }
    scene.insert(FIRST)
    publish_under_faults(scene)
    (cert_id,) = scene.sql("select min(id) from knit_certs where not_after is not null")[0]
    revoked = knit.knit("revoke", "--id", str(cert_id), "--reason", "keyCompromise", "--wait")
    assert revoked.code == 0, revoked.err

    assert "the worker died" not in knit.logs(), "a bundle that waits for its publication is no failure"
    keys = key_blocks(watched.commands.text())
    assert len(keys) >= len(FIRST), "the scanner must know every key there was"
    ((directory, kept),) = scene.sql("select directory, private_key from knit_accounts")
    account = Seal((seal_key,)).open(kept, AccountRef("acme", directory))
    told = [knit.knit("account", *words) for words in (("seal",), ("seal", "--json"), ("forget", "--json"))]
    assert [one.code for one in told] == [0, 0, 0]
    places = watched.places() | {"commands": "".join(one.out + one.err for one in (*told, revoked)).encode()}
    of_keys = [Secret.of_key(f"key {number}", pem) for number, pem in enumerate(sorted(keys))]
    sealed = [Secret.of_key("account", account.encode()), Secret("seal", (seal_key[:16], seal_key[16:]))]
    assert leaks([*of_keys, *sealed], places) == []

    # The same eyes see it where it lies in clear.
    scene.sql("update knit_accounts set private_key = %s", account)
    seen = leaks(sealed, watched.places())
    assert {line.partition(" as ")[0] for line in seen} == {"account in database", "account in statement log"}
    assert leaks([Secret.of_text("TSIG secret", scene.servers.dns.key.secret)], places) == []
    # The URL with the password is given to processes in their environment, and to the server when the role is made.
    given = {name: data for name, data in places.items() if name not in ("environments", "statement log")}
    assert leaks([Secret.of_text("password", PASSWORD)], given) == []


def publish_under_faults(scene: Scene) -> None:
    """Issue while nothing can be published, then publish and issue more under each fault in turn, then without one."""
    knit = scene.knit
    scene.scripted.script(delays_ms={"finalize": 2000})
    knit.start("scheduler", KNIT_RENEW_INTERVAL="2s")
    hasty.worker(knit, "renew")
    hasty.issued_but_not_published(scene, len(FIRST))
    with closing(scene.servers.valkey.client()) as client:
        for number, fault in enumerate(FAULTS):
            with fault(client) as word:
                scene.insert([f"g{number}.{ZONE}"])
                control = hasty.worker(knit, "control")
                wait_until(lambda: f"({word}" in control.text(), f"{word} while publishing", seconds=30)  # noqa: B023
                time.sleep(2.5)
                control.kill()
    hasty.worker(knit, "control")
    knit.wait_published(len(FIRST), seconds=60)


def canary() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def der(pem: bytes) -> bytes:
    return load_pem_private_key(pem, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def scalar(pem: bytes) -> bytes:
    key = cast("ec.EllipticCurvePrivateKey", load_pem_private_key(pem, None))
    return key.private_numbers().private_value.to_bytes(32, "big")


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "PEM": lambda pem: pem,
    "PEM of the older form": lambda pem: load_pem_private_key(pem, None).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ),
    "DER": der,
    "the bare number": scalar,
    "hexadecimal": lambda pem: der(pem).hex().encode(),
    "base64": lambda pem: base64.b64encode(der(pem)),
    "base64, one byte on": lambda pem: base64.b64encode(b"x" + der(pem)),
    "base64, two bytes on": lambda pem: base64.b64encode(b"xy" + der(pem)),
    "base64 for URLs": lambda pem: base64.urlsafe_b64encode(scalar(pem)),
    "JSON": lambda pem: json.dumps({"privkey": pem.decode()}).encode(),
    "JSON in JSON": lambda pem: json.dumps(json.dumps({"privkey": pem.decode()})).encode(),
    "Python's repr": lambda pem: repr(der(pem)).encode(),
    "a text cut off": lambda pem: pem[: pem.index(b"END") - 60],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_scanner_sees_a_key_in_every_form(form: str) -> None:
    pem = canary()
    data = b"before " + FORMS[form](pem) + b" after"
    assert leaks([Secret.of_key("canary", pem)], {"here": data}) != []
    assert leaks([Secret.of_key("canary", canary())], {"here": data}) == []


def test_the_scanner_sees_a_canary_planted_in_each_place_it_looks_through(watched: Watched) -> None:
    scene = watched.scene
    names = list(watched.places())
    planted = {name: canary() for name in names}
    secrets = [Secret.of_key(name, pem) for name, pem in planted.items()]
    assert leaks(secrets, watched.places()) == []

    texts = {name: pem.decode() for name, pem in planted.items()}
    with closing(scene.servers.queue.client()) as client:
        client.hset("dramatiq:renew.XQ.msgs", "a dead letter", json.dumps({"trace": texts["keys of the queue"]}))
        client.set("gone", texts["files of the queue"])
        client.delete("gone")
        client.echo(texts["MONITOR of the queue"])
    with psycopg.connect(watched.postgres.url_of("knit"), autocommit=True) as connection:
        connection.execute("create table leak (trace text)")
        connection.execute("insert into leak values (%s)", [texts["database"]])
        connection.execute("select %s::text", [texts["statement log"]])
    scene.knit.run("logging", ["sh", "-c", 'echo "$LEAK"'], LEAK=texts["logs"])
    scene.knit.run("arguing", ["sh", "-c", "sleep 3", texts["arguments"]])
    scene.knit.run("surrounded", ["sleep", "3"], LEAK=texts["environments"])
    (scene.knit.home / "core.1").write_bytes(b"\0" + der(planted["home and temporary files"]) + b"\0")

    def seen() -> set[str]:
        found = leaks(secrets, watched.places())
        return {name for name in names if any(line.startswith(f"{name} in {name} ") for line in found)}

    wait_until(lambda: seen() == set(names), "every canary seen", seconds=15)
