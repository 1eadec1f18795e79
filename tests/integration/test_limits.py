"""What a CA's limits cost: a pause for the account, no failure, and never a flood."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from knit.core.model.attempt import Failed, Renewed
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import Life, Stage
from tests.integration.test_kept_orders import ca, stage, tried

__all__ = ["ca", "stage"]

YESTERDAY = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)


def schedule(stage: Stage) -> list[tuple[int, float]]:
    """Failures, and seconds to the next try."""
    return stage.sql(
        "select failures, extract(epoch from greatest(s.retry_at, a.retry_at) - now())::float8 "
        "from knit_schedule s left join knit_attempts a on a.cert_id = s.cert_id and ended_at is null "
        "order by s.cert_id"
    )


def orders(ca: ScriptedCA) -> int:
    return int(ca.counts()["requests"].get("newOrder", 0))


def pause_over(stage: Stage) -> None:
    stage.sql("update knit_pauses set until = now() - interval '1 second'")


@pytest.mark.parametrize("asked", ["0", "5", "yesterday", "soon", "", "-1", "99999999999999999999", "+999999999999"])
def test_one_refusal_stops_all_certificates_for_a_minute_at_least_and_is_nobodys_failure(
    stage: Stage, ca: ScriptedCA, asked: str
) -> None:
    wanted, value = stage.wanted(5), YESTERDAY if asked == "yesterday" else asked
    ca.fault("newOrder", times=0, status=429, type="rateLimited", headers={"Retry-After": value})
    began = time.monotonic()
    for cert_id in wanted:
        assert isinstance(tried(stage, cert_id), Failed)
    assert orders(ca) == 1
    passed = time.monotonic() - began
    assert all(failures == 0 and passed + wait > 59 for failures, wait in schedule(stage))
    assert all(error for (error,) in stage.sql("select last_error from knit_certs"))


def test_the_wait_of_the_account_is_what_the_ca_asked_for(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    ca.fault("newOrder", status=429, type="rateLimited", headers={"Retry-After": "7200"})
    tried(stage, first)
    failed = tried(stage, second)
    assert isinstance(failed, Failed)
    assert failed.retry_at is not None
    assert timedelta(hours=1.9) < failed.retry_at - datetime.now(UTC) < timedelta(hours=2.1)


def test_a_limit_of_one_set_of_names_stops_the_others_for_the_floor_only(stage: Stage, ca: ScriptedCA) -> None:
    (first, name), (second, _) = stage.wanted(2).items()
    said = f'too many certificates already issued for "{name}"'
    ca.fault("newOrder", status=429, type="rateLimited", detail=said, headers={"Retry-After": "90000"})
    tried(stage, first)
    failed = tried(stage, second)
    assert isinstance(failed, Failed)
    assert failed.retry_at is not None
    assert failed.retry_at - datetime.now(UTC) < timedelta(minutes=2)
    waits = [wait for _, wait in schedule(stage)]
    assert waits[0] > 86400
    pause_over(stage)
    assert isinstance(tried(stage, second), Renewed)


def test_the_floor_grows_with_refusals_in_a_row_and_only_one_certificate_tries_each_time(
    stage: Stage, ca: ScriptedCA
) -> None:
    wanted = list(stage.wanted(4))
    ca.fault("newOrder", times=0, status=429, type="rateLimited", headers={"Retry-After": "0"})
    waits, asked = [], []
    for _ in range(4):
        pause_over(stage)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda cert_id: tried(stage, cert_id), wanted))
        asked.append(orders(ca))
        ((seconds,),) = stage.sql("select extract(epoch from until - now())::float8 from knit_pauses")
        waits.append(seconds)
    assert [later - earlier for earlier, later in pairwise(asked)] == [1, 1, 1]
    assert all(1.5 < later / earlier < 2.5 for earlier, later in pairwise(waits))


def test_an_order_after_the_pause_ends_it_for_all(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    ca.fault("newOrder", status=429, type="rateLimited")
    tried(stage, first)
    pause_over(stage)
    assert isinstance(tried(stage, second), Renewed)
    assert isinstance(tried(stage, first), Renewed)
    assert stage.sql("select * from knit_pauses") == []


def test_five_refusals_and_one_failure_are_one_failure(stage: Stage, ca: ScriptedCA) -> None:
    (cert_id,) = stage.wanted(1)
    ca.fault("newOrder", times=5, status=429, type="rateLimited")
    ca.fault("newOrder", nth=6, status=503, headers={"Retry-After": "1"})
    for _ in range(6):
        pause_over(stage)
        tried(stage, cert_id)
    assert [failures for failures, _ in schedule(stage)] == [1]


def test_an_order_that_is_finalized_is_got_during_a_pause(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    ca.fault("certificate", act="answer", status=404, body="<html>", times=0)
    tried(stage, first)
    ca.clear_faults()
    ca.fault("newOrder", status=429, type="rateLimited")
    tried(stage, second)
    assert isinstance(tried(stage, first), Renewed)


def test_a_switch_to_another_ca_waits_for_nothing_that_the_old_one_said(stage: Stage, ca: ScriptedCA) -> None:
    (cert_id,) = stage.wanted(1)
    ca.fault("newOrder", times=0, status=400, type="rejectedIdentifier")
    for _ in range(4):
        tried(stage, cert_id)
    stage.sql("update knit_schedule set retry_directory = 'https://old.example/directory'")
    stage.sql("update knit_attempts set directory = 'https://old.example/directory'")
    ca.clear_faults()
    with stage.process(Life()) as flows:
        assert cert_id in flows.reconcile.run().renew
        assert isinstance(flows.renew.run(cert_id), Renewed)


@pytest.mark.parametrize("status", [429, 503])
def test_what_the_old_ca_said_is_forgotten_with_its_open_attempt(stage: Stage, ca: ScriptedCA, status: int) -> None:
    (cert_id,) = stage.wanted(1)
    ca.fault("newOrder", status=status, type="rateLimited", headers={"Retry-After": "172800"})
    tried(stage, cert_id)
    for table in ("knit_attempts", "knit_pauses"):
        stage.sql(f"update {table} set directory = 'https://old.example/directory'")
    stage.sql("update knit_schedule set retry_directory = 'https://old.example/directory'")
    with stage.process(Life()) as flows:
        assert cert_id in flows.reconcile.run().renew
        assert isinstance(flows.renew.run(cert_id), Renewed)


def test_a_failure_at_the_new_ca_is_its_first(stage: Stage, ca: ScriptedCA) -> None:
    (cert_id,) = stage.wanted(1)
    ca.fault("newOrder", times=0, status=400, type="rejectedIdentifier")
    for _ in range(4):
        tried(stage, cert_id)
    stage.sql("update knit_schedule set retry_directory = 'https://old.example/directory'")
    tried(stage, cert_id)
    ((failures, wait),) = schedule(stage)
    assert (failures, wait < 100) == (1, True)


def test_proofs_of_one_name_fail_no_more_often_than_the_ca_forgives(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(authz_problem={"type": "urn:ietf:params:acme:error:dns", "detail": "SERVFAIL"})
    outcomes = [tried(stage, cert_id) for _ in range(7)]
    assert ca.counts_of(name)["challenges"] == 4
    assert isinstance(outcomes[-1], Failed)
    assert "as often as is safe" in outcomes[-1].error
    assert outcomes[-1].retry_at is not None
    assert timedelta(minutes=50) < outcomes[-1].retry_at - datetime.now(UTC) < timedelta(minutes=61)
    assert ca.counts()["requests"]["newOrder"] <= 5, "the order that waits is kept"
    ca.behave(authz_problem=None, validation="dns")
    stage.sql("update knit_validations set tried = array[now() - interval '61 minutes']")
    assert isinstance(tried(stage, cert_id), Renewed)


def test_proofs_that_go_well_are_not_counted(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, _),) = stage.wanted(1).items()
    for _ in range(6):
        assert isinstance(tried(stage, cert_id), Renewed)
        stage.sql("delete from knit_attempts where cert_id = %s", cert_id)
    assert stage.sql("select tried from knit_validations") == [([],)]


def test_certificates_that_share_a_name_share_its_count(stage: Stage, ca: ScriptedCA) -> None:
    wanted = list(stage.wanted(6))
    stage.sql("update knit_certs set domains = 'shared.knit.example,' || domains")
    with stage.process(Life()) as flows:
        flows.reconcile.run()
    ca.behave(authz_problem={"type": "urn:ietf:params:acme:error:dns", "detail": "SERVFAIL"})
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda cert_id: tried(stage, cert_id), wanted))
    ((most,),) = stage.sql("select max(cardinality(tried)) from knit_validations where name = 'shared.knit.example'")
    assert most <= 4
    answered = sum(counted.get("challenges", 0) for counted in ca.counts()["names"].values())
    assert answered <= 8
