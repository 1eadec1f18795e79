"""A certificate that waits for what another one has in the DNS takes no thread, and asks the CA for nothing."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from knit.app.locks import LeasedLocks
from knit.core.model.attempt import Renewed
from knit.core.model.certificate import CertId
from knit.errors import Busy
from knit.settings.environment import Environment
from knit.store.database import Database
from knit.store.leases.leases import Leases
from rig.scripted_ca.client import ScriptedCA
from tests.acceptance.scene import ZONE
from tests.integration.test_flows import Life, Stage
from tests.integration.test_kept_orders import ca, stage

__all__ = ["ca", "stage"]


def by_program(stage: Stage) -> tuple[Stage, CertId]:
    """A certificate whose DNS is changed by a program, one zone at a time."""
    ((cert_id, _),) = stage.wanted(1).items()
    stage.sql("update knit_certs set provider = 'exec' where id = %s", cert_id)
    stage.sql("update knit_certs set seen = wanted where id = %s", cert_id)
    return replace(stage, environment=Environment({**stage.environment, "EXEC_PATH": "/bin/true"})), cert_id


def waits(stage: Stage, cert_id: CertId) -> float:
    """One more look while the zone is another's; gives the seconds that the thread was busy with it."""
    began = time.monotonic()
    with stage.process(Life()) as flows:
        opened = time.monotonic() - began
        with pytest.raises(Busy, match="dns exec"):
            flows.renew.run(cert_id)
        return time.monotonic() - began - opened


def test_the_wait_for_a_zone_costs_no_request_to_the_ca_whoever_goes_on(stage: Stage, ca: ScriptedCA) -> None:
    ca.behave(validation="always")
    stage, cert_id = by_program(stage)
    with ExitStack() as other:
        database = other.enter_context(Database.open(stage.servers.database, connections=1))
        leases = Leases(database)
        other.callback(leases.stop)
        other.enter_context(LeasedLocks(leases, time.sleep)(f"dns exec {ZONE}"))
        waits(stage, cert_id)
        asked = sum(ca.counts()["requests"].values())
        # Each in a process of its own, that knows of the wait from the journal only.
        seconds = [waits(stage, cert_id) for _ in range(3)]
        assert sum(ca.counts()["requests"].values()) == asked
        assert min(seconds) < 1
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert ca.counts()["totals"]["orders"] == 1
    assert stage.sql("select waits_for from knit_attempts") == [(None,)]
    assert stage.sql("select name from knit_leases_live where name like 'dns%%'") == []


def test_a_wait_that_is_over_is_forgotten_with_the_next_one(stage: Stage, ca: ScriptedCA) -> None:
    ca.behave(validation="always")
    stage, cert_id = by_program(stage)
    ca.fault("finalize", act="reset", times=0)
    with ExitStack() as other:
        database = other.enter_context(Database.open(stage.servers.database, connections=1))
        leases = Leases(database)
        other.callback(leases.stop)
        other.enter_context(LeasedLocks(leases, time.sleep)(f"dns exec {ZONE}"))
        waits(stage, cert_id)
        ((lock,),) = stage.sql("select waits_for from knit_attempts")
        assert lock == f"dns exec {ZONE}"
    with stage.process(Life()) as flows:
        flows.renew.run(cert_id)
    assert stage.sql("select step, waits_for from knit_attempts") == [("finalizing", None)]
