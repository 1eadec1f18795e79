"""Somebody's open transaction holds one row of the list: it costs the other certificates nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from knit.core.model.attempt import Renewed
from knit.core.model.certificate import CertId
from knit.errors import RowHeld
from knit.settings.environment import Environment
from tests.integration.test_flows import Life, Stage, stage

__all__ = ["stage"]

IMPATIENT = "?options=-c%20lock_timeout%3D300"


def impatient(stage: Stage) -> Stage:
    """Waits for a lock for a third of a second."""
    url = {"KNIT_DB_URL": f"{stage.servers.database}{IMPATIENT}"}
    return dataclasses.replace(stage, environment=Environment({**stage.environment, **url}))


@contextmanager
def held(stage: Stage, statement: str, cert_id: CertId) -> Iterator[None]:
    """A psql that somebody has left open."""
    with psycopg.connect(stage.servers.database) as connection:
        connection.execute(statement.encode(), [cert_id])
        yield
        connection.rollback()


EDIT = "update knit_certs set cert_path = '/by/hand.crt' where id = %s"
DELETE = "delete from knit_certs where id = %s"


@pytest.mark.parametrize("statement", [EDIT, DELETE])
def test_what_was_published_together_is_recorded_but_for_the_one_that_is_held(stage: Stage, statement: str) -> None:
    first, *others = sorted(stage.wanted(3))
    with impatient(stage).process(Life()) as flows:
        for cert_id in (first, *others):
            assert isinstance(flows.renew.run(cert_id), Renewed)
        with held(stage, statement, first):
            with pytest.raises(RowHeld):
                flows.publish.waiting()
            assert stage.sql("select cert_id from knit_issued order by cert_id") == [(one,) for one in others]
            assert stage.sql("select cert_id from knit_attempts where ended_at is null") == [(first,)]
        assert flows.publish.waiting(begun=True).published == (first,)


@pytest.mark.parametrize("statement", [EDIT, DELETE])
def test_a_pass_plans_all_but_the_one_that_is_held(stage: Stage, statement: str) -> None:
    first, *others = sorted(stage.wanted(3))
    with impatient(stage).process(Life()) as flows:
        for cert_id in (first, *others):
            assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()
        stage.sql("update knit_certs set last_error = 'over'")
        with held(stage, statement, first):
            assert flows.reconcile.run().renew == ()
            assert stage.sql("select id from knit_certs where last_error is not null") == [(first,)]
            flows.reconcile.store.complain([first, *others], RowHeld("shown where it can be"))
        assert stage.sql("select count(*) from knit_certs where last_error like 'shown%'") == [(2,)]
        flows.reconcile.run()
