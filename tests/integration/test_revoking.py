"""Certificates that are revoked: by processes that are killed at any call, and by CAs that answer oddly."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from knit.core.model.certificate import CertId
from knit.core.model.revocation import Revocation, Revoked
from knit.core.revocation import Wish, course
from knit.errors import Busy, NoSuchCertificate, Outage, Refused
from knit.flows.revoke import LONGEST
from knit.issuers.acme.jws import new_account_key
from knit.store.database import Database
from knit.store.revocations.revocations import Revocations
from rig.process import wait_until
from rig.scripted_ca.client import ScriptedCA
from tests.integration import test_flows
from tests.integration.test_account_upkeep import upkeep_of
from tests.integration.test_flows import KilledError, Life, Recording, Stage, whole_way
from workers.actors import Flows

stage = test_flows.stage

REMOVED = "delete from knit_certs where id = %s"
DISABLED = "update knit_certs set enabled = false where id = %s"


def ca_of(stage: Stage) -> ScriptedCA:
    assert isinstance(stage.servers.ca, ScriptedCA)
    return stage.servers.ca


def issued(stage: Stage, count: int) -> dict[CertId, str]:
    """Certificates that are published."""
    found = stage.wanted(count)
    with stage.process(Life()) as flows:
        for cert_id in found:
            flows.renew.run(cert_id)
        flows.publish.everything()
    return found


def ask(stage: Stage, cert_id: CertId | str, reason: str, replace: bool | None = None) -> Revocation:
    """As a command does, about what is published or by a serial number."""
    wish = Wish(reason=reason, replace=replace)
    with Database.open(stage.servers.database) as database:
        return Revocations(database).ask(cert_id, partial(course, wish=wish, now=datetime.now(UTC)))


def states(stage: Stage, cert_id: CertId) -> list[tuple[str, str, int]]:
    return stage.sql("select state, copy, tries from knit_revocations where cert_id = %s order by id", cert_id)


def copies(stage: Stage) -> list[Any]:
    with closing(stage.servers.valkey.client()) as client:
        return list(client.scan_iter("knit:index:revoking:*"))


def events(stage: Stage, cert_id: CertId) -> list[str]:
    rows = stage.sql("select kind from knit_events where cert_id = %s order by id", cert_id)
    return [str(kind) for (kind,) in rows]


def whole_revocation(flows: Flows, cert_id: CertId) -> None:
    """What a worker is told to do by the messages of `knit revoke`, and of what follows from each."""
    flows.revoke.run()
    whole_way(flows, cert_id)
    flows.revoke.run()


def calls(stage: Stage, reason: str, replace: bool | None) -> list[str]:
    """What a process calls for one revocation, but for what is done once a day."""
    life = Recording()
    for cert_id in issued(stage, 2):
        ask(stage, cert_id, reason, replace)
        life = Recording()
        with stage.process(life) as flows:
            whole_revocation(flows, cert_id)
    return life.names


SPLIT = [("keyCompromise", None, 2, part) for part in range(3)] + [("unspecified", False, 1, part) for part in range(2)]
"""Each part is a test, so that none takes long."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("reason", "replace", "finalized", "part"), SPLIT)
def test_a_revocation_killed_at_any_call_is_finished_with_one_order_that_is_published_first_and_one_word_to_the_ca(
    stage: Stage, reason: str, replace: bool | None, finalized: int, part: int, after: bool
) -> None:
    names = calls(stage, reason, replace)
    assert len(names) >= (30 if finalized == 2 else 14)
    assert set(names) >= {"live", "put", "copied", "get", "revoke", "revoked", "discard", "discarded"}
    places = range(1, len(names) + 1)[part :: sum(one[0] == reason for one in SPLIT)]
    certificates = issued(stage, len(places))
    for last, cert_id in zip(places, certificates, strict=True):
        ask(stage, cert_id, reason, replace)
        life = Life(last=last, after=after)
        with stage.process(life) as flows, pytest.raises(KilledError):
            whole_revocation(flows, cert_id)
        # What it held is free later: nobody waits for that here.
        stage.sql("update knit_leases set expires_at = now() - interval '1 second'")
        finished_by_another(stage)
        counted, told = ca_of(stage).counts()["names"][certificates[cert_id]], events(stage, cert_id)
        death = f"{'after' if after else 'before'} call {last}, {life.said}"
        assert (counted["revoked"], counted["finalized"]) == (1, finalized), death
        assert states(stage, cert_id) == [("revoked", "none", 0)], death
        assert told.count("certificate revoked") == 1, death
        assert told.count("certificate published") == finalized, death
        if finalized == 2:
            assert told.index("certificate revoked") > len(told) - told[::-1].index("certificate published") - 1, death
        assert copies(stage) == [], death
    assert stage.sql("select * from knit_attempts where ended_at is null") == []


def finished_by_another(stage: Stage) -> None:
    """What the next pass finds, and the messages that follow from it."""
    with stage.process(Life()) as flows:
        flows.revoke.run()
        for cert_id in flows.reconcile.run().renew:
            flows.renew.run(cert_id)
        flows.publish.everything()
        flows.revoke.run()
        assert not flows.revoke.due()


def test_what_is_published_meanwhile_waits_until_the_old_one_is_copied(stage: Stage) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    with stage.process(Life()) as flows:
        stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
        flows.renew.run(cert_id)
        asked = ask(stage, cert_id, "superseded")
        assert flows.publish.everything().published == ()
        flows.revoke.run()
        assert [one[:2] for one in states(stage, cert_id)] == [("wanted", "kept")]
        assert flows.publish.everything().published == (cert_id,)
        flows.revoke.run()
        whole_way(flows, cert_id)
    assert states(stage, cert_id) == [("revoked", "none", 0)]
    counted = ca_of(stage).counts()["names"][name]
    assert (counted["revoked"], counted["finalized"]) == (1, 2), "what was under way is what takes its place"
    ((serial,),) = stage.sql("select serial from knit_issued where cert_id = %s", cert_id)
    assert serial != asked.serial


def test_a_ca_that_is_down_is_asked_once_for_all_of_a_run_and_holds_up_no_copy(stage: Stage) -> None:
    certificates = issued(stage, 3)
    for cert_id in certificates:
        ask(stage, cert_id, "keyCompromise", replace=False)
    ca_of(stage).fault("revokeCert", status=503, times=0, headers={"Retry-After": "600"})
    with stage.process(Life()) as flows:
        report = flows.revoke.run()
    assert (report.copied, report.revoked, report.failed) == (3, 0, 3)
    assert ca_of(stage).counts()["requests"]["revokeCert"] == 1
    assert [states(stage, cert_id) for cert_id in certificates] == [[("wanted", "kept", 1)]] * 3
    ca_of(stage).clear_faults()
    stage.sql("update knit_revocations set next_try_at = now()")
    with stage.process(Life()) as flows:
        begins = datetime.now(UTC)
        slow = iter([begins, begins, begins + LONGEST])
        report = dataclasses.replace(flows.revoke, clock=lambda: next(slow)).run()
        assert (report.revoked, report.more) == (1, True), "a worker can be told to stop"
        assert flows.revoke.run().revoked == 2


@pytest.mark.parametrize("broken", ["full", "read-only"])
def test_where_no_copy_can_be_kept_what_waits_for_nothing_is_revoked_all_the_same(stage: Stage, broken: str) -> None:
    first, second, third = issued(stage, 3)
    ask(stage, first, "keyCompromise", replace=False)
    ask(stage, second, "superseded")
    ask(stage, third, "unspecified", replace=False)
    with closing(stage.servers.valkey.client()) as client, stage.process(Life()) as flows:
        try:
            if broken == "full":
                client.config_set("maxmemory", "1")
            else:
                client.replicaof("127.0.0.1", "1")
            ca_of(stage).fault("revokeCert", nth=2, status=503, times=0, headers={"Retry-After": "600"})
            for _ in range(3):
                with pytest.raises(Outage):
                    flows.revoke.run()
            assert ca_of(stage).counts()["requests"]["revokeCert"] == 2, "whom the CA asks to wait waits"
        finally:
            client.config_set("maxmemory", "0")
            client.replicaof("NO", "ONE")
        assert [states(stage, one) for one in (first, second, third)] == [
            [("revoked", "none", 0)],
            [("wanted", "wanted", 0)],
            [("wanted", "wanted", 1)],
        ]
        assert len(stage.sql("select * from knit_compromised_keys where cert_id = %s", first)) == 1
        ca_of(stage).clear_faults()
        stage.sql("update knit_revocations set next_try_at = now()")
        whole_revocation(flows, second)
    assert [states(stage, one)[0][:2] for one in (second, third)] == [("revoked", "none")] * 2
    assert copies(stage) == []


def test_copies_of_many_take_no_time_from_those_that_have_one(stage: Stage) -> None:
    certificates = issued(stage, 3)
    for cert_id in certificates:
        ask(stage, cert_id, "superseded", replace=False)
    begins = datetime.now(UTC)
    with stage.process(Life()) as flows:
        over = iter([begins, begins, begins, begins + LONGEST, begins + LONGEST])
        report = dataclasses.replace(flows.revoke, clock=lambda: next(over)).run()
        assert (report.copied, report.revoked, report.more) == (2, 0, True), "a worker can be told to stop"
        over = iter([begins, begins, begins, begins + LONGEST])
        report = dataclasses.replace(flows.revoke, clock=lambda: next(over)).run()
        assert (report.copied, report.revoked, report.more) == (1, 1, True)


@pytest.mark.parametrize("change", [REMOVED, DISABLED])
def test_a_certificate_that_is_removed_or_disabled_meanwhile_is_revoked_all_the_same_and_not_waited_with(
    stage: Stage, change: str
) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    ask(stage, cert_id, "keyCompromise")
    stage.sql(change, cert_id)
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        flows.publish.everything()
        assert client.get(name) is not None, "it is copied first"
        flows.revoke.run()
        flows.publish.everything()
        assert client.get(name) is None
    assert states(stage, cert_id) == [("revoked", "none", 0)]
    assert ca_of(stage).counts()["names"][name]["revoked"] == 1


def test_operation_that_ceases_takes_the_certificate_off_work_and_orders_nothing(stage: Stage) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    assert not ask(stage, cert_id, "cessationOfOperation").replace
    assert stage.sql("select enabled from knit_certs where id = %s", cert_id) == [(False,)]
    with stage.process(Life()) as flows:
        flows.revoke.run()
        assert flows.reconcile.run().renew == ()
        flows.publish.everything()
    counted = ca_of(stage).counts()["names"][name]
    assert (counted["revoked"], counted["finalized"]) == (1, 1)


def test_the_key_of_a_compromised_certificate_is_refused_for_ever_at_once_and_only_once(stage: Stage) -> None:
    ((cert_id, _),) = issued(stage, 1).items()
    keys = "select spki_sha256 from knit_compromised_keys where cert_id = %s"
    ask(stage, cert_id, "keyCompromise")
    ((first,),) = stage.sql(keys, cert_id)
    assert stage.sql("select spki_sha256 from knit_issued where cert_id = %s", cert_id) == [(first,)]
    with stage.process(Life()) as flows:
        flows.revoke.run()
        flows.renew.run(cert_id)
        ask(stage, cert_id, "unspecified", replace=False)
        assert stage.sql("select reason, replace from knit_revocations where cert_id = %s", cert_id) == [
            ("keyCompromise", False)
        ]
        ask(stage, cert_id, "keyCompromise")
        assert stage.sql(keys, cert_id) == [(first,)], "the key that takes its place is nobody else's"
        flows.publish.everything()
        flows.revoke.run()
    assert [state for state, _, _ in states(stage, cert_id)] == ["revoked"]


def test_another_account_than_the_one_that_ordered_it_asks_by_the_certificates_key(stage: Stage) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    stage.sql("delete from knit_accounts")
    ask(stage, cert_id, "unspecified", replace=False)
    with stage.process(Life()) as flows:
        assert flows.revoke.run().revoked == 1
    counts = ca_of(stage).counts()
    assert counts["names"][name]["revoked"] == 1
    assert counts["requests"]["newAccount"] == 1
    assert stage.sql("select * from knit_accounts") == []


def test_a_key_that_is_not_the_accounts_leaves_it_to_the_certificates_key(stage: Stage) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    stage.sql("update knit_accounts set private_key = %s", new_account_key())
    ask(stage, cert_id, "unspecified", replace=False)
    with stage.process(Life()) as flows:
        assert flows.revoke.run().revoked == 1
    counts = ca_of(stage).counts()
    assert (counts["names"][name]["revoked"], counts["requests"]["revokeCert"]) == (1, 2)


def test_an_account_that_gets_another_key_meanwhile_asks_again_with_that(stage: Stage) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    ask(stage, cert_id, "superseded", replace=False)
    ca = ca_of(stage)
    seen = ca.counts()["requests"]["newNonce"]
    ca.script(delays_ms={"newNonce": 2000})
    with stage.process(Life()) as flows, ThreadPoolExecutor(1) as threads:
        running = threads.submit(flows.revoke.run)
        wait_until(lambda: ca.counts()["requests"]["newNonce"] > seen, "it is about to ask")
        ca.script(delays_ms={})
        with upkeep_of(stage) as found:
            found.rotate()
        with pytest.raises(Busy, match="changed meanwhile"):
            running.result()
        assert states(stage, cert_id) == [("wanted", "kept", 0)]
        assert flows.revoke.run().revoked == 1
    assert ca.counts()["names"][name]["revoked"] == 1


def test_a_value_that_is_gone_or_another_one_cannot_be_revoked_and_says_what_can(stage: Stage) -> None:
    first, second = issued(stage, 2).items()
    with closing(stage.servers.valkey.client()) as client:
        client.rename(second[1], first[1])
    for cert_id, _ in (first, second):
        ask(stage, cert_id, "superseded", replace=False)
    with stage.process(Life()) as flows:
        assert flows.revoke.run().failed == 2
    for cert_id, _ in (first, second):
        ((state, error),) = stage.sql("select state, error from knit_revocations where cert_id = %s", cert_id)
        assert state == "refused"
        assert "certbot revoke --cert-path" in error
        assert events(stage, cert_id)[-1] == "revocation refused"


Answers = dict[str, Any]


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ({"status": 404, "type": "malformed", "detail": "no such certificate"}, "refused", "no such certificate"),
        ({"status": 400, "type": "badRevocationReason", "detail": "not that"}, "refused", "not that"),
        ({"status": 403, "type": "unauthorized", "detail": "not you"}, "refused", "not you"),
        ({"status": 500, "detail": "on fire"}, "wanted", "on fire"),
        ({"status": 429, "type": "rateLimited", "headers": {"Retry-After": "7200"}}, "wanted", "scripted"),
        ({"act": "reset"}, "wanted", "cannot be reached"),
        ({"status": 400, "type": "alreadyRevoked"}, "revoked", None),
    ],
    ids=["unknown", "reason", "unauthorized", "500", "429", "reset", "already"],
)
def test_odd_answers_are_a_next_try_or_a_sentence(stage: Stage, fault: Answers, state: str, words: str | None) -> None:
    ((cert_id, _),) = issued(stage, 1).items()
    ask(stage, cert_id, "superseded", replace=False)
    ca_of(stage).fault("revokeCert", times=0, **fault)
    with stage.process(Life()) as flows:
        flows.revoke.run()
        assert not flows.revoke.due()
    ((found, error, wait),) = stage.sql(
        "select state, error, extract(epoch from next_try_at - now())::float8 from knit_revocations where cert_id = %s",
        cert_id,
    )
    assert found == state
    assert (words is None and error is None) or words in error
    if state != "wanted":
        assert len(copies(stage)) == (state == "refused")
        return
    assert (7000 if "headers" in fault else 40) < wait < (7300 if "headers" in fault else 80)
    ca_of(stage).clear_faults()
    stage.sql("update knit_revocations set next_try_at = now()")
    with stage.process(Life()) as flows:
        flows.revoke.run()
    assert states(stage, cert_id) == [("revoked", "none", 1)]
    assert copies(stage) == []


@pytest.mark.parametrize("change", ["select %s", REMOVED, DISABLED])
def test_what_was_refused_is_asked_for_again_by_its_number_and_what_took_its_place_is_left_alone(
    stage: Stage, change: str
) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    asked = ask(stage, cert_id, "affiliationChanged")
    ca_of(stage).fault("revokeCert", status=400, type="badRevocationReason")
    with stage.process(Life()) as flows:
        whole_revocation(flows, cert_id)
    assert [state for state, _, _ in states(stage, cert_id)] == ["refused"]
    ((serial,),) = stage.sql("select serial from knit_issued where cert_id = %s", cert_id)
    assert serial != asked.serial
    with pytest.raises(Refused, match="--replace is for what is published now"):
        ask(stage, asked.serial, "superseded", replace=True)
    stage.sql(change, cert_id)
    with stage.process(Life()) as flows:
        flows.publish.everything()
    again = ask(stage, asked.serial, "keyCompromise")
    assert (again.id, again.replace) == (asked.id, False)
    with stage.process(Life()) as flows:
        assert flows.revoke.run().revoked == 1
    assert states(stage, cert_id) == [("revoked", "none", 0)]
    counted = ca_of(stage).counts()["names"][name]
    assert (counted["revoked"], counted["finalized"]) == (1, 2)
    assert len(stage.sql("select * from knit_compromised_keys where cert_id = %s", cert_id)) == 1, "that key alone"
    assert ask(stage, asked.serial, "superseded").state is Revoked.REVOKED
    with pytest.raises(NoSuchCertificate, match="no certificate with serial number abc is known here"):
        ask(stage, "abc", "superseded")


def test_the_copy_of_a_refused_one_is_kept_for_a_week_and_of_an_expired_one_no_longer_than_it(stage: Stage) -> None:
    ((cert_id, _),) = issued(stage, 1).items()
    ask(stage, cert_id, "superseded", replace=False)
    ca_of(stage).fault("revokeCert", status=400, type="badRevocationReason")
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        flows.revoke.run()
        (key,) = copies(stage)
        assert client.ttl(key) > 0
        stage.sql("update knit_revocations set ended_at = now() - interval '8 days'")
        assert flows.revoke.due()
        flows.revoke.run()
        assert copies(stage) == []
        assert not flows.revoke.due()


def test_a_refused_one_that_was_disabled_since_is_asked_for_again_by_its_number(stage: Stage) -> None:
    (cert_id,) = issued(stage, 1)
    asked = ask(stage, cert_id, "cessationOfOperation")
    ca_of(stage).fault("revokeCert", status=400, type="badRevocationReason")
    with stage.process(Life()) as flows:
        assert flows.revoke.run().failed == 1
        flows.publish.everything()
    with pytest.raises(Refused, match="gone from the certificate Valkey"):
        ask(stage, cert_id, "unspecified")
    ask(stage, asked.serial, "unspecified")
    with stage.process(Life()) as flows:
        assert flows.revoke.run().revoked == 1
    assert states(stage, cert_id) == [("revoked", "none", 0)]


def test_two_workers_at_once_ask_the_ca_once(stage: Stage) -> None:
    ((cert_id, name),) = issued(stage, 1).items()
    ask(stage, cert_id, "superseded", replace=False)
    ca_of(stage).fault("revokeCert", act="drip", seconds=2)
    with stage.process(Life()) as one, stage.process(Life()) as other, ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(lambda flows: flows.revoke.run(), (one, other)))
    assert sorted(report.revoked for report in reports) == [0, 1]
    counts = ca_of(stage).counts()
    assert (counts["names"][name]["revoked"], counts["requests"]["revokeCert"]) == (1, 1)


def test_what_cannot_be_revoked_is_refused_when_it_is_asked_for(stage: Stage) -> None:
    (cert_id,) = stage.wanted(1)
    with pytest.raises(Refused, match="nothing was ever issued"):
        ask(stage, cert_id, "superseded")
    (other,) = issued(stage, 1)
    ask(stage, other, "superseded", replace=False)
    with stage.process(Life()) as flows:
        flows.revoke.run()
    again = ask(stage, other, "unspecified")
    assert again.state is Revoked.REVOKED, "that is done"
    assert len(states(stage, other)) == 1
