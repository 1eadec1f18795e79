"""A server of knit's own that is away inside an attempt is no failure of the certificate."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import redis

from knit.core.model.attempt import Renewed
from knit.core.model.certificate import CertId
from knit.errors import KnitError, Outage, ServerDenied
from knit.flows.renew import Renew
from knit.outages import Outages
from knit.settings.central import Worker
from knit.settings.environment import Environment
from rig.bind import Bind
from rig.postgres import Postgres
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import ORIGINAL, ROW, Servers
from workers.wiring import wire

NAME = "www.knit.example"
ONE = CertId(1)
PASSWORD = "another"


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """One certificate on the list, and one worker's flow that renews it."""

    servers: Servers
    renew: Renew

    def facts(self) -> tuple[int, str | None, str, str]:
        """Failures counted, the error that a person sees, the step of the open attempt, and why it was broken off."""
        with psycopg.connect(self.servers.database) as connection:
            (row,) = connection.execute(
                "select coalesce(failures, 0), last_error, step, error_class from knit_certs c"
                " join knit_schedule s on s.cert_id = c.id join knit_attempts a on a.cert_id = c.id"
                " where a.ended_at is null"
            ).fetchall()
        return row

    def finalized(self) -> int:
        ca = self.servers.ca
        assert isinstance(ca, ScriptedCA)
        return ca.counts_of(NAME)["finalized"]


@pytest.fixture
def stage(bind: Bind, own_postgres: Postgres, own_valkey: Valkey, queue_valkey: Valkey) -> Iterator[Stage]:
    own_valkey.flush()
    with ScriptedCA(dns_server=bind.address, default={"validation": "dns"}) as ca:
        database = own_postgres.create_database("knit")
        servers = Servers(ca=ca, dns=bind, database=database, valkey=own_valkey, queue=queue_valkey)
        env = Environment({**servers.settings(), "KNIT_QUEUE_URL": ""})
        with psycopg.connect(database) as connection:
            connection.execute(ORIGINAL)
            row = {"domains": NAME, "valkey_key": NAME, "cert_path": "/c.crt", "key_path": "/c.key"}
            connection.execute(ROW, row)
        wired = wire(Worker.read(env, queue_required=False), env, time.sleep, Outages())
        try:
            wired.flows.reconcile.run()
            yield Stage(servers, wired.flows.renew)
        finally:
            wired.opened.close()


class Meanwhile:
    """A port at the n-th use of which something else happens first."""

    def __init__(self, port: object, call: str, nth: int, happens: Callable[[], object]) -> None:
        self._port = port
        self._call = call
        self._left = nth
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            self._left -= 1
            if self._left == 0:
                self._happens()
        return getattr(self._port, name)


def client(valkey: Valkey, **more: Any) -> redis.Redis:
    return redis.Redis.from_url(valkey.url, **more)


Trouble = tuple[Callable[[Valkey], object], Callable[[Valkey], object], type[KnitError]]
TROUBLES: dict[str, Trouble] = {
    "away": (Valkey.stop, Valkey.start, Outage),
    "a replica": (
        lambda valkey: client(valkey).replicaof("127.0.0.1", 1),
        lambda valkey: client(valkey).replicaof("no", "one"),
        Outage,
    ),
    "full": (
        lambda valkey: client(valkey).config_set("maxmemory", "1"),
        lambda valkey: client(valkey).config_set("maxmemory", "0"),
        Outage,
    ),
    "under another password": (
        lambda valkey: (
            client(valkey).config_set("requirepass", PASSWORD),
            client(valkey, password=PASSWORD).client_kill_filter(_type="normal", skipme=True),
        ),
        lambda valkey: client(valkey, password=PASSWORD).config_set("requirepass", ""),
        ServerDenied,
    ),
}


@pytest.mark.parametrize("trouble", list(TROUBLES))
@pytest.mark.parametrize("nth", [1, 2], ids=["before the order", "after the CA has issued"])
def test_a_valkey_that_cannot_serve_costs_no_try_and_no_order(stage: Stage, nth: int, trouble: str) -> None:
    begins, ends, error = TROUBLES[trouble]
    valkey = stage.servers.valkey
    staging: Any = Meanwhile(stage.renew.staging, "put", nth, lambda: begins(valkey))
    with pytest.raises(error):
        dataclasses.replace(stage.renew, staging=staging).run(ONE)
    assert stage.facts() == (0, None, "planned" if nth == 1 else "finalizing", error.__name__)

    ends(valkey)
    assert isinstance(stage.renew.run(ONE), Renewed)
    assert stage.finalized() == 1


def test_a_postgresql_that_goes_away_again_and_again_does_not_look_like_a_worker_that_dies(
    stage: Stage, own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knit.store.database.PATIENCE", 0.5)
    for _ in range(4):
        staging: Any = Meanwhile(stage.renew.staging, "put", 1, own_postgres.stop)
        with pytest.raises(Outage):
            dataclasses.replace(stage.renew, staging=staging).run(ONE)
        own_postgres.start()
        with psycopg.connect(stage.servers.database) as connection:
            # A key that is lost before the order makes each try begin with another one.
            connection.execute("update knit_attempts set step = 'planned', spki_sha256 = 'lost'")
    assert isinstance(stage.renew.run(ONE), Renewed)
    assert stage.finalized() == 1
