"""A certificate with two issuers: the second is asked when the first cannot be used, and at most one of them issues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from knit.core.model.attempt import Failed, Renewed
from knit.core.model.certificate import CertId
from knit.settings.environment import Environment
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import PARTS, Life, dies, finish, nothing_is_left, part_of, whole_way
from tests.integration.test_several_issuers import Two, environment, issuers, keys, two

__all__ = ["two"]

pytestmark = pytest.mark.usefixtures("soon")

BUSY = {"status": 429, "type": "rateLimited", "detail": "too many new orders", "headers": {"Retry-After": "86400"}}


def both(two: Two, count: int = 1) -> dict[CertId, str]:
    """Certificates that come from the first, or else from the second."""
    found = two.wanted(count)
    two.sql("update knit_certs set issuer = 'first,second' where id = any(%s)", list(found))
    two.sql("update knit_certs set seen = wanted")
    return found


def away(ca: ScriptedCA) -> None:
    """It answers nothing any more."""
    ca.fault(act="reset", times=0)


def again(two: Two) -> None:
    """The next try is now."""
    two.sql("update knit_attempts set retry_at = null where ended_at is null")
    two.sql("update knit_schedule set retry_at = null, check_at = '-infinity'")


def seconds_to_the_next_try(two: Two, cert_id: CertId) -> float:
    ((seconds,),) = two.sql(
        "select extract(epoch from max(at) - now())::float8 from ("
        " select retry_at as at from knit_attempts where cert_id = %s and ended_at is null"
        " union all select retry_at from knit_schedule where cert_id = %s) waits",
        cert_id,
        cert_id,
    )
    return float(seconds)


def test_the_next_try_goes_to_the_second_issuer_and_the_next_renewal_back_to_the_first(two: Two) -> None:
    ((cert_id, name),) = both(two).items()
    away(two.first)
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        assert seconds_to_the_next_try(two, cert_id) < 90
        again(two)
        whole_way(flows, cert_id)
        assert two.finalized(name) == (0, 1)
        assert cert_id not in flows.reconcile.run().renew, "it is as wanted"
        two.first.clear_faults()
        two.sql("update knit_certs set requested_at = now() + interval '1 second' where id = %s", cert_id)
        again(two)
        whole_way(flows, cert_id)
    assert two.finalized(name) == (1, 1)
    assert two.sql("select issuer from knit_issued where cert_id = %s", cert_id) == [("first",)]


def test_an_account_that_is_to_wait_for_a_day_waits_while_the_second_issuer_issues(two: Two) -> None:
    ((cert_id, name),) = both(two).items()
    two.first.fault("newOrder", times=0, **BUSY)
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        assert seconds_to_the_next_try(two, cert_id) < 90
        again(two)
        assert isinstance(flows.renew.run(cert_id), Renewed)
        ((other, its_name),) = both(two).items()
        assert isinstance(flows.renew.run(other), Renewed), "without a try of its own at the first"
    assert [two.finalized(one) for one in (name, its_name)] == [(0, 1), (0, 1)]


def test_names_that_the_first_refuses_are_not_taken_to_the_second(two: Two) -> None:
    ((cert_id, name),) = both(two).items()
    two.first.fault("newOrder", times=0, status=400, type="rejectedIdentifier", detail="policy forbids this name")
    with two.process(Life()) as flows:
        for _ in range(3):
            assert isinstance(flows.renew.run(cert_id), Failed)
            again(two)
    assert two.finalized(name) == (0, 0)
    assert two.second.counts()["names"].get(name) is None


def test_an_account_that_is_not_accepted_sends_its_certificates_to_the_second(two: Two) -> None:
    ((cert_id, name),) = both(two).items()
    two.first.fault("newOrder", times=0, status=403, type="unauthorized", detail="account is deactivated")
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        again(two)
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert two.finalized(name) == (0, 1)


@pytest.mark.parametrize("offers", [{}, {"other": {}}])
def test_a_profile_that_the_first_has_not_is_asked_of_the_second(two: Two, offers: dict[str, Any]) -> None:
    two.first.script(profiles=offers)
    two.second.script(profiles={"short": {"validity_s": 500_000}})
    ((cert_id, name),) = both(two).items()
    of_profile(two, cert_id, "short")
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        assert seconds_to_the_next_try(two, cert_id) < 90
        again(two)
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert two.finalized(name) == (0, 1)


def test_a_second_issuer_without_the_profile_is_left_for_the_first_one_again(two: Two) -> None:
    """However short the first one was away."""
    two.first.script(profiles={"short": {"validity_s": 500_000}})
    ((cert_id, name),) = both(two).items()
    of_profile(two, cert_id, "short")
    away(two.first)
    with two.process(Life()) as flows:
        for _ in range(2):
            assert isinstance(flows.renew.run(cert_id), Failed)
            again(two)
        two.first.clear_faults()
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert two.finalized(name) == (1, 0)


def of_profile(two: Two, cert_id: CertId, profile: str) -> None:
    two.sql("update knit_certs set profile = %s where id = %s", profile, cert_id)
    two.sql("update knit_certs set seen = wanted")


@pytest.mark.parametrize("kinds", [("finalize", "order"), ("certificate",)])
def test_while_an_order_of_the_first_may_become_a_certificate_nobody_else_is_asked(
    two: Two, kinds: tuple[str, ...]
) -> None:
    ((cert_id, name),) = both(two).items()
    two.first.fault(*kinds, act="reset", when="after", times=0)
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        away(two.first)
        for _ in range(3):
            again(two)
            assert isinstance(flows.renew.run(cert_id), Failed)
        assert two.second.counts()["names"].get(name) is None
        two.first.clear_faults()
        again(two)
        whole_way(flows, cert_id)
    assert two.finalized(name) == (1, 0)


def runs_out(two: Two, before: str) -> None:
    """The order's time was up so long ago."""
    two.sql("update knit_attempts set order_expires = now() - %s::interval where ended_at is null", before)


@pytest.mark.parametrize("answers", [False, True], ids=["it answers nothing", "it answers"])
@pytest.mark.parametrize(("kind", "finalized"), [("finalize", (0, 1)), ("certificate", (1, 1))])
def test_once_an_order_of_the_first_has_run_out_the_second_is_asked(
    two: Two, kind: str, finalized: tuple[int, int], answers: bool
) -> None:
    ((cert_id, name),) = both(two).items()
    two.first.fault(kind, act="reset", times=0)
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        if not answers:
            away(two.first)
        for _ in range(4):
            again(two)
            assert isinstance(flows.renew.run(cert_id), Failed)
        runs_out(two, "50 minutes")
        again(two)
        assert isinstance(flows.renew.run(cert_id), Failed)
        assert 0 < seconds_to_the_next_try(two, cert_id) < 600, "when no clock can be so late"
        assert two.second.counts()["names"].get(name) is None
        runs_out(two, "61 minutes")
        two.sql("update knit_attempts set updated_at = now() - interval '61 minutes'")
        again(two)
        failed = flows.renew.run(cert_id)
        assert isinstance(failed, Failed)
        assert seconds_to_the_next_try(two, cert_id) < 90
        assert two.second.counts()["names"].get(name) is None, "the first has been asked once more"
        again(two)
        whole_way(flows, cert_id)
    assert two.finalized(name) == finalized
    assert two.sql("select issuer from knit_issued where cert_id = %s", cert_id) == [("second",)]


def test_a_first_that_is_back_after_its_order_has_run_out_gives_what_it_has_issued(two: Two) -> None:
    ((cert_id, name),) = both(two).items()
    two.first.fault("certificate", act="reset", times=0)
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        runs_out(two, "8 days")
        two.first.clear_faults()
        again(two)
        whole_way(flows, cert_id)
    assert two.finalized(name) == (1, 0)


def test_without_a_second_issuer_an_order_that_has_run_out_is_kept(two: Two) -> None:
    cert_id, name = two.one("first")
    two.first.fault("certificate", act="reset", times=0)
    with two.process(Life()) as flows:
        for _ in range(3):
            assert isinstance(flows.renew.run(cert_id), Failed)
            runs_out(two, "8 days")
            again(two)
        assert two.sql("select step, error_class from knit_attempts") == [("finalizing", "OrderKept")]
        two.first.clear_faults()
        whole_way(flows, cert_id)
    assert two.finalized(name) == (1, 0)


@pytest.mark.parametrize(("days", "noted"), [(3, 3), (30, 30), (4000, 7), (-4, 7)])
def test_an_order_runs_out_when_the_ca_says_so_unless_no_order_lives_so_long(two: Two, days: int, noted: int) -> None:
    ((cert_id, _),) = both(two).items()
    two.first.script(order_life_s=days * 86400)
    two.first.fault("authz", act="reset", times=0)
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
    ((left,),) = two.sql("select extract(epoch from order_expires - now())::float8 / 86400 from knit_attempts")
    assert abs(left - noted) < 0.01


def test_the_second_is_asked_soon_however_often_a_certificate_has_failed(two: Two) -> None:
    """A day later the first would be tried like any other."""
    ((cert_id, name),) = both(two).items()
    two.sql("update knit_schedule set failures = 9")
    away(two.first)
    with two.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        assert seconds_to_the_next_try(two, cert_id) < 90
        again(two)
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert two.finalized(name) == (0, 1)


def calls_of_a_fallback(two: Two) -> int:
    """How many calls a process makes that finds the first issuer down, but for what is done once a day."""
    life = Life()
    for cert_id in both(two, 2):
        first_try(two, cert_id)
        life = Life()
        with two.process(life) as flows:
            whole_way(flows, cert_id)
    return life.calls


def first_try(two: Two, cert_id: CertId) -> None:
    """At the first issuer, which is down after the order has been placed; one that may be finalized has run out."""
    with two.process(Life()) as flows:
        for _ in range(2):
            flows.renew.run(cert_id)
            if two.sql("select id from knit_attempts where cert_id = %s and step <> 'finalizing'", cert_id):
                break
            runs_out(two, "8 days")
            again(two)
    again(two)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("down", "recovers"), [("authz", False), ("authz", True), ("finalize", True)])
def test_a_fallback_that_is_killed_at_any_call_ends_with_one_finalized_order_at_one_of_them(
    two: Two, down: str, recovers: bool, part: int
) -> None:
    two.first.fault(down, act="reset", times=0)
    total = calls_of_a_fallback(two)
    assert total >= 20
    for life in part_of(total, part):
        ((cert_id, name),) = both(two).items()
        first_try(two, cert_id)
        death = dies(two, cert_id, life)
        if recovers:
            two.first.clear_faults()
        finish(two, cert_id, rounds=3)
        two.first.clear_faults()
        two.first.fault(down, act="reset", times=0)
        assert sum(two.finalized(name)) == 1, death
        nothing_is_left(two, name, death)


def test_an_issuer_whose_limits_leave_no_room_is_passed_over_and_asked_again_when_they_do(two: Two) -> None:
    limits = 'limits = { orders_per_account = { count = 1, per = "24h" } }'
    text = issuers(first=keys(two.first, limits), second=keys(two.second))
    narrow = Two(two.servers, environment(two.servers, text), two.first, two.second)
    certificates = both(narrow, 3)
    with narrow.process(Life()) as flows:
        for cert_id in certificates:
            assert isinstance(flows.renew.run(cert_id), Renewed)
    assert sorted(narrow.finalized(name) for name in certificates.values()) == [(0, 1), (0, 1), (1, 0)]


@pytest.mark.parametrize("word", ["badCSR", "badPublicKey"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "in its order"])
def test_a_key_that_the_first_does_not_take_is_taken_to_the_second(two: Two, word: str, late: bool) -> None:
    ((cert_id, name),) = both(two).items()
    problem = {"type": f"urn:ietf:params:acme:error:{word}", "detail": "no keys of this curve"}
    if late:
        two.first.behave(order_problem=problem, validation="dns")
    else:
        two.first.fault("finalize", times=0, status=400, type=word, detail="no keys of this curve")
    with two.process(Life()) as flows:
        failed = flows.renew.run(cert_id)
        assert isinstance(failed, Failed)
        assert "no keys of this curve" in failed.error
        assert seconds_to_the_next_try(two, cert_id) < 90
        again(two)
        whole_way(flows, cert_id)
    assert two.finalized(name)[1] == 1
    assert two.sql("select issuer from knit_issued where cert_id = %s", cert_id) == [("second",)]
    assert two.sql("select error_class from knit_attempts where error_class is not null") == [("KeyRefused",)]


def test_a_kept_key_that_the_ca_blocks_is_told_with_the_way_out(two: Two) -> None:
    cert_id, _ = two.one("first")
    with two.process(Life()) as flows:
        whole_way(flows, cert_id)
        two.sql("update knit_certs set reuse_key = true, requested_at = now() + interval '1 second'")
        two.sql("update knit_certs set seen = wanted")
        again(two)
        two.first.fault("finalize", times=1, status=400, type="badPublicKey", detail="this key is blocked")
        failed = flows.renew.run(cert_id)
        assert isinstance(failed, Failed)
        assert f"`knit set --id {cert_id} --no-reuse-key`" in failed.error
        two.sql("update knit_certs set reuse_key = false")
        two.sql("update knit_certs set seen = wanted")
        again(two)
        two.first.fault("finalize", times=1, status=400, type="badPublicKey", detail="this key is blocked")
        failed = flows.renew.run(cert_id)
        assert isinstance(failed, Failed)
        assert "--no-reuse-key" not in failed.error, "it was a new one"


def of_secret(two: Two, key: str) -> Two:
    return replace(two, environment=Environment({**two.environment, "KNIT_SECRET_KEY": key}))


SECRET, ANOTHER = ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "YWJjZGVmZ2hpamFiY2RlZmdoaWphYmNkZWZnaGlqYWI=")


def test_an_account_whose_key_cannot_be_opened_here_sends_its_certificates_to_the_second(two: Two) -> None:
    before, _ = two.one("first")
    with of_secret(two, SECRET).process(Life()) as flows:
        whole_way(flows, before)
    ((cert_id, name),) = both(two).items()
    with of_secret(two, ANOTHER).process(Life()) as flows:
        failed = flows.renew.run(cert_id)
        assert isinstance(failed, Failed)
        assert "KNIT_SECRET_KEY" in failed.error
        assert seconds_to_the_next_try(two, cert_id) < 90
        again(two)
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert two.finalized(name) == (0, 1)


def test_a_first_whose_files_cannot_be_read_here_sends_its_certificates_to_the_second(two: Two) -> None:
    broken = keys(two.first).replace(str(two.first.ca_file), __file__)
    text = issuers(first=broken, second=keys(two.second))
    stage = Two(two.servers, environment(two.servers, text), two.first, two.second)
    ((cert_id, name),) = both(stage).items()
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
        again(stage)
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert stage.finalized(name) == (0, 1)


def test_a_finalized_order_waits_for_who_can_open_the_key_of_its_account(two: Two) -> None:
    ((cert_id, name),) = both(two).items()
    two.first.fault("certificate", act="reset", times=0)
    with of_secret(two, SECRET).process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
    two.first.clear_faults()
    again(two)
    with of_secret(two, ANOTHER).process(Life()) as flows:
        failed = flows.renew.run(cert_id)
        assert isinstance(failed, Failed)
        assert "KNIT_SECRET_KEY" in failed.error
    again(two)
    with of_secret(two, SECRET).process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert two.finalized(name) == (1, 0)
    assert two.first.counts()["names"][name]["orders"] == 1
