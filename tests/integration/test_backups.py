"""A backup of the database is restored while Valkey has gone on: nothing that is live and newer is ordered again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from knit.core.model.attempt import Renewed, Skipped
from knit.core.model.certificate import CertId
from rig.postgres import Postgres
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import KilledError, Life, Stage, as_published, published, recorded, stage

__all__ = ["stage"]


@contextmanager
def restored_after(stage: Stage, postgres: Postgres) -> Iterator[None]:
    """The database as it was before the block."""
    name = stage.servers.database.rpartition("/")[2]
    postgres.create_database("backup", template=name)
    yield
    postgres.drop_database(name)
    postgres.create_database(name, template="backup")
    postgres.drop_database("backup")


def renewed(stage: Stage, cert_id: CertId) -> None:
    """Again, because somebody asked for it."""
    stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()


def finalized(stage: Stage, name: str) -> int:
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    return ca.counts_of(name)["finalized"]


def grown_old(stage: Stage) -> None:
    """What is recorded says that its window has begun."""
    stage.sql(
        "update knit_issued set not_before = not_before - '70 d'::interval, not_after = not_after - '70 d'::interval"
    )
    stage.sql("update knit_schedule set check_at = '-infinity'")


def passed(stage: Stage, cert_id: CertId) -> None:
    with stage.process(Life()) as flows:
        flows.reconcile.run()
        assert isinstance(flows.renew.run(cert_id), Skipped)
        flows.publish.everything()


def test_what_was_renewed_after_the_backup_is_taken_as_it_is(stage: Stage, postgres: Postgres) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    renewed(stage, cert_id)
    with stage.process(Life()) as flows:
        flows.reconcile.run(deep=True)
    with restored_after(stage, postgres):
        renewed(stage, cert_id)
    grown_old(stage)
    passed(stage, cert_id)
    assert finalized(stage, name) == 2
    assert recorded(stage, cert_id) == as_published(published(stage, name))


@pytest.mark.parametrize("step", ["planned", "ordered", "finalizing"])
def test_an_attempt_that_was_open_at_the_time_of_the_backup_has_been_overtaken(
    stage: Stage, postgres: Postgres, step: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    until = {"planned": 5, "ordered": 9, "finalizing": 12}[step]
    life = Life(last=until)
    with stage.process(life) as flows, pytest.raises(KilledError):
        flows.renew.run(cert_id)
    stage.sql("update knit_leases set owner = '', expires_at = now()")
    stage.sql("update knit_attempts set step = %s where ended_at is null", step)
    with restored_after(stage, postgres), stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()
    passed(stage, cert_id)
    assert finalized(stage, name) == 1
    assert recorded(stage, cert_id) == as_published(published(stage, name))
    assert stage.sql("select * from knit_attempts where ended_at is null") == []
    with closing(stage.servers.valkey.client()) as client:
        assert list(client.scan_iter("knit:index:staging:*")) == []


def test_a_request_that_was_answered_after_the_backup_is_not_answered_again(stage: Stage, postgres: Postgres) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    renewed(stage, cert_id)
    stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
    with restored_after(stage, postgres), stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()
    passed(stage, cert_id)
    assert finalized(stage, name) == 2


@pytest.mark.parametrize("later", [True, False])
def test_a_request_within_the_second_of_a_newer_value_is_answered_by_it_only_where_it_came_before(
    stage: Stage, postgres: Postgres, later: bool
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    renewed(stage, cert_id)
    with restored_after(stage, postgres):
        renewed(stage, cert_id)
        ((began,),) = stage.sql("select max(started_at) from knit_attempts")
    apart = timedelta(microseconds=1 if later else -1)
    stage.sql("update knit_certs set requested_at = %s where id = %s", began + apart, cert_id)
    before = published(stage, name)["knit"]["generation"]
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed if later else Skipped)
        flows.publish.everything()
    assert finalized(stage, name) == 2 + later
    assert (published(stage, name)["knit"]["generation"] > before) is later
    assert recorded(stage, cert_id) == as_published(published(stage, name))


def test_a_newer_value_with_a_compromised_key_is_not_taken(stage: Stage, postgres: Postgres) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    renewed(stage, cert_id)
    with restored_after(stage, postgres):
        renewed(stage, cert_id)
        ((spki,),) = stage.sql("select spki_sha256 from knit_issued")
    stage.sql("insert into knit_compromised_keys (spki_sha256, cert_id) values (%s, %s)", spki, cert_id)
    grown_old(stage)
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()
    assert finalized(stage, name) == 3
    assert recorded(stage, cert_id) == as_published(published(stage, name))
