"""A CA's limits are met before it is asked: what has no room waits with a date, and costs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from knit.core import x509
from knit.core.budget import BucketKey
from knit.core.limits import Limit
from knit.core.model.attempt import Failed, Outcome, Renewed, Skipped
from knit.core.model.certificate import CertId
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import Life, Stage
from tests.integration.test_kept_orders import ca, stage
from workers.actors import Flows

__all__ = ["ca", "stage"]

THREE = {"certificates_per_domain": {"count": 4, "per": "4d"}, "renewals_not_counted_by": ["certificates_per_domain"]}


@contextmanager
def limited(stage: Stage, limits: dict[str, Any]) -> Iterator[Flows]:
    """A worker whose CA has these limits: of 4, 3 are for what can wait."""
    with stage.process(Life()) as flows:
        (terms,) = flows.renew.rules.issuers
        rules = dataclasses.replace(flows.renew.rules, issuers=(dataclasses.replace(terms, limits=limits),))
        yield dataclasses.replace(
            flows,
            renew=dataclasses.replace(flows.renew, rules=rules),
            reconcile=dataclasses.replace(flows.reconcile, rules=rules),
        )


def orders(ca: ScriptedCA) -> int:
    return int(ca.counts()["requests"].get("newOrder", 0))


def schedule(stage: Stage) -> dict[CertId, tuple[float, int, str | None, str | None]]:
    """Days to the next look, failures, what is waited for, and the error."""
    rows = stage.sql(
        "select s.cert_id, extract(epoch from check_at - now())::float8 / 86400, failures, no_room, last_error "
        "from knit_schedule s join knit_certs c on c.id = s.cert_id where s.check_at > now()"
    )
    return {row[0]: tuple(row[1:]) for row in rows}


def test_a_pass_asks_workers_only_for_what_has_room_and_the_rest_waits_one_token_after_the_other(
    stage: Stage, ca: ScriptedCA
) -> None:
    wanted = list(stage.wanted(6))
    with limited(stage, THREE) as flows:
        assert list(flows.reconcile.run().renew) == wanted[:3]
        waits = schedule(stage)
    assert list(waits) == wanted[3:]
    for days, (found, failures, waits_for, error) in zip((1, 2, 3), waits.values(), strict=True):
        assert days - 0.01 < found < days + 0.01
        assert (failures, error) == (0, None)
        assert waits_for == "the CA's limit of certificates per registered domain (knit.example) leaves no room"
    assert orders(ca) == 0


def test_a_worker_that_is_asked_nevertheless_makes_no_key_and_no_order(
    stage: Stage, ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = list(stage.wanted(4))
    with limited(stage, THREE) as flows:
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in wanted[:3])
        monkeypatch.setattr(x509.CertKey, "new", None)
        outcome = flows.renew.run(wanted[3])
    assert isinstance(outcome, Skipped)
    assert outcome.until is not None
    assert timedelta(hours=23) < outcome.until - datetime.now(UTC) < timedelta(hours=25)
    assert orders(ca) == 3
    assert schedule(stage)[wanted[3]][1:] == (0, outcome.reason, None)
    assert stage.sql("select count(*) from knit_attempts where cert_id = %s", wanted[3]) == [(0,)]


def test_an_order_that_comes_to_nothing_costs_no_certificate_of_the_domain(stage: Stage, ca: ScriptedCA) -> None:
    wanted = list(stage.wanted(6))
    with limited(stage, THREE) as flows:
        ca.behave(authz_problem={"type": "urn:ietf:params:acme:error:dns", "detail": "SERVFAIL"})
        assert all(isinstance(flows.renew.run(cert_id), Failed) for cert_id in wanted[:3])
        ca.behave(authz_problem=None, validation="dns")
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in wanted[3:])


def test_a_renewal_of_the_same_names_is_not_counted_where_the_ca_does_not(stage: Stage, ca: ScriptedCA) -> None:
    wanted = list(stage.wanted(3))
    with limited(stage, THREE) as flows:
        for _ in range(2):
            assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in wanted)
            flows.publish.everything()
            stage.sql("update knit_certs set requested_at = now()")
        before = flows.reconcile.room.store.every()
        assert {key.limit for key in before} == {Limit.DOMAIN}


def attempts(stage: Stage, cert_id: CertId) -> list[tuple[str, bool]]:
    """Steps of its attempts, and whether each has ended."""
    rows = stage.sql("select step, ended_at is not null from knit_attempts where cert_id = %s order by id", cert_id)
    return [(step, ended) for step, ended in rows]


def test_what_fails_without_an_order_leaves_its_room_to_others_and_waits_for_another(
    stage: Stage, ca: ScriptedCA
) -> None:
    first, *others = stage.wanted(4)
    ca.fault("newOrder", act="reset", times=0)
    with limited(stage, THREE) as flows:
        assert isinstance(flows.renew.run(first), Failed)
        ca.clear_faults()
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in others)
        again(stage)
        before = orders(ca)
        outcome = flows.renew.run(first)
        assert isinstance(outcome, Skipped)
        assert outcome.until is not None
        assert timedelta(hours=23) < outcome.until - datetime.now(UTC) < timedelta(hours=25)
        assert orders(ca) == before
        assert attempts(stage, first) == [("abandoned", True)]
        assert first not in flows.reconcile.run().renew
        stage.sql("update knit_budget set full_at = now()")
        again(stage)
        assert isinstance(flows.renew.run(first), Renewed)


def test_what_has_an_order_goes_on_with_it_though_others_have_had_the_last_room(stage: Stage, ca: ScriptedCA) -> None:
    failing, others = list(stage.wanted(3)), list(stage.wanted(3))
    ca.fault("authz", act="reset", times=0)
    with limited(stage, THREE) as flows:
        assert all(isinstance(flows.renew.run(cert_id), Failed) for cert_id in failing)
        ca.clear_faults()
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in others)
        again(stage)
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in failing)
    assert orders(ca) == 6


@pytest.mark.parametrize("others", [1, 3])
def test_an_order_that_is_over_when_it_is_gone_on_with_is_made_anew_only_where_there_is_room(
    stage: Stage, ca: ScriptedCA, others: int
) -> None:
    first, *wanted = stage.wanted(1 + others)
    ca.fault("authz", act="reset", times=0)
    with limited(stage, THREE) as flows:
        assert isinstance(flows.renew.run(first), Failed)
        ca.clear_faults()
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in wanted)
        again(stage)
        stage.sql("update knit_attempts set order_url = order_url || '9' where cert_id = %s", first)
        before = orders(ca)
        outcome = flows.renew.run(first)
        if others < 3:
            assert (orders(ca) - before, attempts(stage, first)) == (1, [("issued", False)])
            return
        assert isinstance(outcome, Skipped)
        assert (orders(ca) - before, attempts(stage, first)) == (0, [("abandoned", True)])
        stage.sql("update knit_budget set full_at = now()")
        again(stage)
        assert isinstance(flows.renew.run(first), Renewed)


def test_what_begins_to_expire_soon_while_it_waits_is_gone_on_with_by_its_larger_share(
    stage: Stage, ca: ScriptedCA
) -> None:
    first, *others = stage.wanted(4)
    with limited(stage, THREE) as flows:
        assert isinstance(flows.renew.run(first), Renewed)
        flows.publish.waiting()
        stage.sql("delete from knit_budget")
        stage.sql("update knit_issued set names_key = names_key || ',a'")
        ca.fault("newOrder", act="reset", times=0)
        assert isinstance(flows.renew.run(first), Failed)
        ca.clear_faults()
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in others)
        again(stage)
        stage.sql("update knit_issued set not_after = now() + interval '1 day'")
        assert isinstance(flows.renew.run(first), Renewed)


def refused_as_a_replacement(stage: Stage, flows: Flows) -> Outcome:
    """A renewal at the word of the CA, which does not know what it is to replace."""
    stage.sql("update knit_issued set ari_id = 'AAAA.AAAA'")
    stage.sql("update knit_ari set checked_at = now(), next_poll_at = now() + interval '1 day'")
    stage.sql("update knit_certs set requested_at = now()")
    return flows.renew.run(CertId(stage.sql("select cert_id from knit_issued")[0][0]))


SPARED = {"certificates_per_domain": THREE["certificates_per_domain"], "replaced_not_counted": True}


def test_an_order_that_may_not_replace_is_counted(stage: Stage, ca: ScriptedCA) -> None:
    (cert_id,) = stage.wanted(1)
    with limited(stage, SPARED) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.waiting()
        ((before,),) = stage.sql("select full_at from knit_budget")
        assert isinstance(refused_as_a_replacement(stage, flows), Renewed)
        assert stage.sql("select full_at - %s, held from knit_budget", before) == [(timedelta(days=1), 0)]
    assert orders(ca) == 3, "one of them refused"


def test_an_order_that_may_not_replace_waits_at_no_further_cost_where_there_is_no_room(
    stage: Stage, ca: ScriptedCA
) -> None:
    (cert_id,) = stage.wanted(1)
    with limited(stage, SPARED) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.waiting()
        stage.sql("update knit_budget set full_at = now() + interval '5 days'")
        outcome = refused_as_a_replacement(stage, flows)
        assert isinstance(outcome, Skipped)
        assert outcome.until is not None
        assert timedelta(days=2.9) < outcome.until - datetime.now(UTC) < timedelta(days=3.1)
        assert schedule(stage)[cert_id][1:] == (0, outcome.reason, None)
        assert attempts(stage, cert_id)[-1] == ("abandoned", True)
        again(stage)
        assert isinstance(flows.renew.run(cert_id), Skipped)
        assert orders(ca) == 2, "the first, and the refusal"
        stage.sql("update knit_budget set full_at = now()")
        again(stage)
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert orders(ca) == 3, "without a word of what it would replace"


def again(stage: Stage) -> None:
    """The next try is now."""
    stage.sql("update knit_attempts set retry_at = null where ended_at is null")
    stage.sql("update knit_schedule set retry_at = null, check_at = '-infinity'")


def test_what_the_ca_says_of_a_domain_is_waited_for_by_all_of_its_certificates(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    said = 'too many certificates (50) already issued for "knit.example" in the last 168h0m0s'
    ca.fault("newOrder", status=429, type="rateLimited", detail=said, headers={"Retry-After": "90000"})
    with limited(stage, THREE) as flows:
        assert isinstance(flows.renew.run(first), Failed)
        stage.sql("update knit_pauses set until = now() - interval '1 second'")
        outcome = flows.renew.run(second)
    assert isinstance(outcome, Skipped)
    assert outcome.until is not None
    assert outcome.until - datetime.now(UTC) > timedelta(seconds=89000)
    assert orders(ca) == 1


def test_what_the_ca_says_of_the_account_empties_its_bucket(stage: Stage, ca: ScriptedCA) -> None:
    (first,) = stage.wanted(1)
    ca.fault("newOrder", status=429, type="rateLimited", headers={"Retry-After": "7200"})
    with limited(stage, {"orders_per_account": {"count": 300, "per": "3h"}}) as flows:
        flows.renew.run(first)
        (terms,) = flows.renew.rules.issuers
        room = flows.renew.room
        key = BucketKey(terms.directory, Limit.ORDERS, "")
        level = room.store.levels([key])[key]
    assert timedelta(hours=4.9) < level.full_at - datetime.now(UTC) < timedelta(hours=5.1)


def test_a_wait_for_room_is_nothing_that_a_pass_mends(stage: Stage, ca: ScriptedCA, caplog: Any) -> None:
    wanted = list(stage.wanted(6))
    with limited(stage, THREE) as flows:
        flows.reconcile.run()
        stage.sql("update knit_schedule set check_at = now() + interval '3 years' where no_room is not null")
        before = schedule(stage)
        stage.sql("delete from knit_certs where id = any(%s)", wanted[:3])
        caplog.clear()
        flows.reconcile.run()
    assert [days for days, *_ in schedule(stage).values()] == pytest.approx(
        [days for days, *_ in before.values()], abs=1
    )
    assert "mended" not in caplog.text


@pytest.mark.parametrize("asked", ["100000000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_ca_that_asks_for_years_empties_a_bucket_for_48_hours(stage: Stage, ca: ScriptedCA, asked: str) -> None:
    (first,) = stage.wanted(1)
    ca.fault("newOrder", status=429, type="rateLimited", headers={"Retry-After": asked})
    with limited(stage, {"orders_per_account": {"count": 300, "per": "3h"}}) as flows:
        assert isinstance(flows.renew.run(first), Failed)
    ((full_at,),) = stage.sql("select full_at from knit_budget")
    assert timedelta(hours=50.9) < full_at - datetime.now(UTC) < timedelta(hours=51.1), "and fills in 3 hours"


def test_the_one_that_tries_whether_a_pause_is_over_is_none_without_room(stage: Stage, ca: ScriptedCA) -> None:
    *before, without, free = stage.wanted(5)
    with limited(stage, THREE) as flows:
        assert all(isinstance(flows.renew.run(cert_id), Renewed) for cert_id in before)
        stage.sql(
            "update knit_certs set domains = 'x.other.example', names = '{x.other.example}', names_key = "
            "'x.other.example' where id = %s",
            free,
        )
        ((directory,),) = stage.sql("select directory from knit_issuers")
        stage.sql(
            "insert into knit_pauses (issuer, directory, until, said) values ('acme', %s, now(), 'slow down')",
            directory,
        )
        assert isinstance(flows.renew.run(without), Skipped)
        assert stage.sql("select probing from knit_pauses") == [(None,)]
        flows.renew.run(free)
        assert stage.sql("select probing from knit_pauses where probing is distinct from %s", free) == []
    assert orders(ca) == 4
