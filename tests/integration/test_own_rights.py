"""A user of PostgreSQL who lacks a right: found out before anything is ordered, and said where people look."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from knit.core.model.attempt import Renewed
from knit.core.model.certificate import CertId
from knit.errors import NotPermitted
from knit.flows.renew import Renew
from knit.outages import Outages
from knit.settings.central import Worker
from knit.settings.environment import Environment
from rig.bind import Bind
from rig.postgres import Postgres
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import ORIGINAL, ROW, Servers
from workers import local
from workers.wiring import wire

NAME = "x.knit.example"
ONE = CertId(1)
USER = "narrow"
GRANTS = f"""
create role {USER} login password 'pass';
grant usage on schema public to {USER};
grant select, insert, update, delete on all tables in schema public to {USER};
grant usage on all sequences in schema public to {USER};
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """Servers, the flow of a worker with few rights, and the owner's word."""

    servers: Servers
    environment: Environment

    @contextmanager
    def renew(self) -> Iterator[Renew]:
        wired = wire(Worker.read(self.environment, queue_required=False), self.environment, time.sleep, Outages())
        try:
            yield wired.flows.renew
        finally:
            wired.opened.close()

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.servers.database) as connection:
            connection.execute(statement.encode())

    def last_error(self) -> str:
        with psycopg.connect(self.servers.database) as connection:
            row = connection.execute("select coalesce(last_error, '') from knit_certs").fetchone()
        assert row is not None
        return str(row[0])

    def orders(self) -> int:
        assert isinstance(self.servers.ca, ScriptedCA)
        return sum(self.servers.ca.counts_of(NAME).values())


@pytest.fixture
def stage(bind: Bind, own_postgres: Postgres, own_valkey: Valkey, queue_valkey: Valkey) -> Iterator[Stage]:
    own_valkey.flush()
    with ScriptedCA(dns_server=bind.address, default={"validation": "dns"}) as ca:
        database = own_postgres.create_database("knit")
        servers = Servers(ca=ca, dns=bind, database=database, valkey=own_valkey, queue=queue_valkey)
        with psycopg.connect(database) as connection:
            connection.execute(ORIGINAL)
            row = {"domains": NAME, "valkey_key": NAME, "cert_path": "/c.crt", "key_path": "/c.key"}
            connection.execute(ROW, row)
        env = Environment({**servers.settings(), "KNIT_QUEUE_URL": ""})
        wired = wire(Worker.read(env, queue_required=False), env, time.sleep, Outages())
        wired.flows.reconcile.run()
        wired.opened.close()
        stage = Stage(servers, env)
        stage.sql(GRANTS)
        url = own_postgres.url_of("knit", role=USER, password="pass")
        yield dataclasses.replace(stage, environment=Environment({**env, "KNIT_DB_URL": url}))
        stage.sql(f"drop owned by {USER}")


LACKING = [
    ("insert on knit_issued", "INSERT on knit_issued"),
    ("insert, update on knit_tombstones", "INSERT, UPDATE on knit_tombstones"),
    ("select on knit_leases_live", "SELECT on knit_leases_live"),
    ("update on knit_schedule", "UPDATE on knit_schedule"),
    ("usage on sequence knit_challenges_id_seq", "USAGE on knit_challenges_id_seq"),
    ("select on knit_accounts", "SELECT on knit_accounts"),
]


@pytest.mark.parametrize(("taken", "named"), LACKING)
def test_nothing_is_ordered_that_could_not_be_recorded_and_the_right_that_lacks_is_named(
    stage: Stage, taken: str, named: str
) -> None:
    stage.sql(f"revoke {taken} from {USER}")
    with stage.renew() as renew:
        with pytest.raises(NotPermitted, match=f"PostgreSQL: our user may not {named}; the user needs rights"):
            renew.run(ONE)
        assert stage.orders() == 0
        assert named in stage.last_error()
        stage.sql(f"grant {taken} to {USER}")
        assert isinstance(renew.run(ONE), Renewed)
    assert stage.orders() > 0


def test_a_right_that_is_taken_in_the_middle_stands_in_the_list_and_is_asked_for_again(stage: Stage) -> None:
    with stage.renew() as renew:
        renew.store.check_rights()
        stage.sql(f"revoke insert on knit_challenges from {USER}")
        with pytest.raises(NotPermitted, match="permission denied for table knit_challenges"):
            renew.run(ONE)
        assert "knit_challenges" in stage.last_error()
        with pytest.raises(NotPermitted, match="INSERT on knit_challenges"):
            renew.store.check_rights()
        stage.sql(f"grant insert on knit_challenges to {USER}")
        assert isinstance(renew.run(ONE), Renewed)


def test_rights_on_columns_will_do(stage: Stage) -> None:
    stage.sql(f"revoke select on knit_acme_account from {USER}")
    stage.sql(f"grant select (email, private_key, registration) on knit_acme_account to {USER}")
    with stage.renew() as renew:
        renew.store.check_rights()


def test_what_one_process_could_not_do_is_told_to_whoever_asked_for_it_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.sql(f"revoke insert on knit_issued from {USER}")
    settings = Worker.read(stage.environment, queue_required=False)
    with caplog.at_level(logging.ERROR), pytest.raises(NotPermitted, match="INSERT on knit_issued"):
        local.one(settings, stage.environment, ONE)
    assert "not done" not in caplog.messages
