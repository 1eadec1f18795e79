"""Renewals at the CA's word, which say what they replace: accepted, refused in every way, and killed at every step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from knit.core.model.attempt import Failed, Outcome, Renewed
from knit.core.model.certificate import CertId
from knit.issuers.acme.network import TRIES
from knit.settings.environment import Environment
from rig.knot import Knot
from rig.pebble import Pebble
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import Servers
from tests.integration.test_flows import Life, Recording, Stage, dies, finish, nothing_is_left, whole_way
from tests.integration.test_kept_orders import ca, stage

__all__ = ["ca", "stage"]

PAST = {
    "suggestedWindow": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    "explanationURL": "https://ca.example/incident",
}


def published(stage: Stage) -> tuple[CertId, str]:
    """A certificate that is published."""
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.waiting()
    return cert_id, name


def renewed(stage: Stage, cert_id: CertId) -> Outcome:
    """Renewed once more because a person asks for it."""
    stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
    with stage.process(Life()) as flows:
        outcome = flows.renew.run(cert_id)
        flows.publish.waiting()
    return outcome


def poll(stage: Stage) -> None:
    """Ask the CA about every certificate."""
    stage.sql("update knit_ari set next_poll_at = now()")
    with stage.process(Life()) as flows:
        assert flows.poll.run().down == {}


def refusals(stage: Stage, cert_id: CertId) -> list[dict[str, Any]]:
    rows = stage.sql(
        "select detail from knit_events where kind = 'replacement refused' and cert_id = %s order by id", cert_id
    )
    return [detail for (detail,) in rows]


def orders_for(ca: ScriptedCA, name: str) -> tuple[int, int, int]:
    """Made, made in place of another, finalized."""
    counted = ca.counts_of(name)
    return counted["orders"], counted.get("replacing", 0), counted["finalized"]


def test_a_window_in_the_past_is_a_renewal_at_once_in_place_of_the_old_one(stage: Stage, ca: ScriptedCA) -> None:
    cert_id, name = published(stage)
    poll(stage)
    with stage.process(Life()) as flows:
        assert list(flows.reconcile.run().renew) == []
    ca.behave_for(name, validation="dns", ari=PAST)
    poll(stage)
    with stage.process(Life()) as flows:
        assert list(flows.reconcile.run().renew) == [cert_id]
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.waiting()
        assert list(flows.reconcile.run().renew) == [], "one renewal for one window"
    assert orders_for(ca, name) == (2, 1, 2)
    assert refusals(stage, cert_id) == []
    ((detail,),) = stage.sql("select detail from knit_events where kind = 'renewal asked for at once'")
    assert detail["explanation"] == "https://ca.example/incident"
    assert stage.sql("select reason from knit_attempts order by id desc limit 1") == [
        ("the CA's suggested renewal time has come",)
    ]


def another_account(stage: Stage, _ca: ScriptedCA) -> None:
    stage.sql("delete from knit_accounts")


def unknown_to_the_ca(stage: Stage, _ca: ScriptedCA) -> None:
    stage.sql("update knit_issued set ari_id = 'AAAA.AAAA'")


def replaced_already(stage: Stage, _ca: ScriptedCA) -> None:
    """As after a database that was restored from before the last renewal."""
    ((cert_id, before),) = stage.sql("select cert_id, ari_id from knit_issued")
    assert isinstance(renewed(stage, CertId(cert_id)), Renewed)
    stage.sql("update knit_issued set ari_id = %s", before)


def refused_with(**fault: Any) -> Callable[[Stage, ScriptedCA], None]:
    return lambda _, ca: ca.fault("newOrder", **fault)


def with_an_unknown_type() -> Callable[[Stage, ScriptedCA], None]:
    body = json.dumps({"type": "https://ca.example/problems/7", "detail": "not that one"})
    return refused_with(act="answer", status=400, body=body)


REFUSALS: dict[str, tuple[Callable[[Stage, ScriptedCA], None], str]] = {
    "another account's": (another_account, "another account's"),
    "unknown": (unknown_to_the_ca, "no certificate has the id"),
    "replaced already": (replaced_already, "alreadyReplaced"),
    "malformed": (refused_with(status=400, type="malformed", detail="no ARI CertID"), "no ARI CertID"),
    "conflict without a word": (refused_with(act="answer", status=409, body="conflict"), "HTTP status 409"),
    "unauthorized": (refused_with(status=403, type="unauthorized", detail="not yours"), "not yours"),
    "unknown type": (with_an_unknown_type(), "not that one"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_an_order_that_may_not_replace_is_made_once_without_and_that_certificate_is_never_named_again(
    stage: Stage, ca: ScriptedCA, why: str
) -> None:
    happens, words = REFUSALS[why]
    cert_id, name = published(stage)
    happens(stage, ca)
    before, requests = orders_for(ca, name), ca.counts()["requests"]["newOrder"]
    assert isinstance(renewed(stage, cert_id), Renewed)
    after = orders_for(ca, name)
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 0, 1]
    assert ca.counts()["requests"]["newOrder"] - requests == 2
    (told,) = refusals(stage, cert_id)
    assert words in told["error"]
    # The same certificate is to be replaced once more, as if the last one had been lost.
    stage.sql("update knit_issued set ari_id = %s", told["replaces"])
    requests = ca.counts()["requests"]["newOrder"]
    assert isinstance(renewed(stage, cert_id), Renewed)
    assert ca.counts()["requests"]["newOrder"] - requests == 1
    assert len(refusals(stage, cert_id)) == 1


def test_a_ca_whose_search_for_what_is_replaced_fails_is_asked_once_without(stage: Stage, ca: ScriptedCA) -> None:
    """Some keep serial numbers as text, and do not find those that begin with a zero."""
    cert_id, name = published(stage)
    ca.fault("newOrder", status=500, type="serverInternal", detail="could not find an order", times=1 + TRIES)
    assert isinstance(renewed(stage, cert_id), Renewed)
    assert orders_for(ca, name) == (2, 0, 2)
    (told,) = refusals(stage, cert_id)
    assert "could not find an order" in told["error"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "headers": {"Retry-After": "60"}},
        {"status": 500, "headers": {"Retry-After": "60"}},
        {"act": "answer", "status": 500, "body": "oops", "times": 0},
        {"status": 502, "times": 0},
    ],
    ids=["maintenance", "an error that says when", "an error without a word of ACME", "a gateway's"],
)
def test_a_ca_that_is_down_refuses_no_replacement(stage: Stage, ca: ScriptedCA, fault: dict[str, Any]) -> None:
    cert_id, name = published(stage)
    ca.fault("newOrder", **fault)
    assert isinstance(renewed(stage, cert_id), Failed)
    assert refusals(stage, cert_id) == []
    ca.clear_faults()
    stage.sql("update knit_attempts set retry_at = null")
    stage.sql("update knit_schedule set retry_at = null")
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
    assert orders_for(ca, name) == (2, 1, 2)


def from_another_ca(stage: Stage, _ca: ScriptedCA) -> None:
    stage.sql("update knit_issued set directory = 'https://other.example/dir'")


def not_offered(_stage: Stage, ca: ScriptedCA) -> None:
    ca.script(offers_ari=False)


def of_other_names(stage: Stage, _ca: ScriptedCA) -> None:
    stage.sql("update knit_issued set names_key = 'other.example'")


@pytest.mark.parametrize("happens", [from_another_ca, not_offered, of_other_names])
def test_what_the_ca_cannot_know_of_is_not_said(
    stage: Stage, ca: ScriptedCA, happens: Callable[[Stage, ScriptedCA], None]
) -> None:
    cert_id, name = published(stage)
    happens(stage, ca)
    assert isinstance(renewed(stage, cert_id), Renewed)
    assert orders_for(ca, name) == (2, 0, 2)
    assert refusals(stage, cert_id) == []


def test_an_order_whose_answer_is_lost_is_made_anew_without_and_one_is_finalized(stage: Stage, ca: ScriptedCA) -> None:
    cert_id, name = published(stage)
    ca.fault("newOrder", act="reset", when="after")
    assert isinstance(renewed(stage, cert_id), Renewed)
    assert orders_for(ca, name) == (3, 1, 2)
    (told,) = refusals(stage, cert_id)
    assert "alreadyReplaced" in told["error"]


def test_a_renewal_at_the_cas_word_needs_no_room(stage: Stage, ca: ScriptedCA) -> None:
    cert_id, _ = published(stage)
    poll(stage)
    with stage.process(Life()) as flows:
        (terms,) = flows.renew.rules.issuers
        known = flows.renew.holding.hold(cert_id)
        with known as held:
            assert held is not None
            _, found = held
            assert found.spec is not None
            letsencrypt = replace(terms, limits="letsencrypt")
            now, room = datetime.now(UTC), flows.renew.room
            assert room.costs(found.spec.names, found.state, letsencrypt, now) == ()
            refused = replace(found.state, unreplaced=True)
            assert room.costs(found.spec.names, refused, letsencrypt, now) != ()


def refused_as_a_replacement(stage: Stage, _ca: ScriptedCA) -> tuple[CertId, str]:
    """Its CA does not know what its next order is to replace."""
    cert_id, name = published(stage)
    stage.sql("update knit_issued set ari_id = 'AAAA.' || cert_id where cert_id = %s", cert_id)
    stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
    return cert_id, name


def with_an_order_that_is_over(stage: Stage, ca: ScriptedCA) -> tuple[CertId, str]:
    """Its attempt is gone on with, and the CA does not know its order."""
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("authz", act="reset", times=0)
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
    ca.clear_faults()
    stage.sql("update knit_attempts set order_url = order_url || '9', retry_at = null where cert_id = %s", cert_id)
    stage.sql("update knit_schedule set retry_at = null, check_at = '-infinity' where cert_id = %s", cert_id)
    return cert_id, name


ORDERING = {"put", "issue", "ordered", "finalizing", "hand_over"}


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("begins", "killed", "finalized"),
    [
        (refused_as_a_replacement, ORDERING | {"begin", "unreplaced"}, 2),
        (with_an_order_that_is_over, ORDERING - {"put"} | {"resume", "unordered"}, 1),
    ],
)
def test_a_process_killed_while_another_order_is_made_leaves_one_that_is_finalized(
    stage: Stage,
    ca: ScriptedCA,
    begins: Callable[[Stage, ScriptedCA], tuple[CertId, str]],
    killed: set[str],
    finalized: int,
    after: bool,
) -> None:
    first, _ = begins(stage, ca)
    recording = Recording()
    with stage.process(recording) as flows:
        whole_way(flows, first)
    places = [number for number, name in enumerate(recording.names, 1) if name in killed]
    assert {recording.names[number - 1] for number in places} == killed
    for place in places:
        cert_id, name = begins(stage, ca)
        death = dies(stage, cert_id, Life(last=place, after=after))
        finish(stage, cert_id)
        made, replacing, ended = orders_for(ca, name)
        assert (replacing, ended) == (0, finalized), death
        assert made == 2 or (not after and death.endswith(", ordered")), death
        assert len(refusals(stage, cert_id)) == finalized - 1, death
        nothing_is_left(stage, name, death)


# Let's Encrypt's own test CA


@pytest.fixture
def pebble_stage(knot_pebble: Pebble, knot: Knot, database_url: str, valkey: Valkey, queue_valkey: Valkey) -> Stage:
    valkey.flush()
    servers = Servers(ca=knot_pebble, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)
    return Stage(servers, Environment({**servers.settings(), "KNIT_QUEUE_URL": ""}))


def test_pebble_takes_a_renewal_at_its_word_as_a_replacement(pebble_stage: Stage, knot_pebble: Pebble) -> None:
    if "renewalInfo" not in knot_pebble.directory():
        pytest.skip("this Pebble offers no renewal information")
    stage = pebble_stage
    cert_id, name = published(stage)
    poll(stage)
    ((start, end),) = stage.sql("select window_start, window_end from knit_ari")
    assert datetime.now(UTC) < start < end < datetime.now(UTC) + timedelta(days=90)
    with stage.servers.valkey.client() as client:
        value = json.loads(client.get(name))
    leaf = value["fullchain"].split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    knot_pebble.set_renewal_info(leaf, json.dumps(PAST))
    poll(stage)
    with stage.process(Life()) as flows:
        assert list(flows.reconcile.run().renew) == [cert_id]
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.waiting()
    assert (len(knot_pebble.finalized()), refusals(stage, cert_id)) == (2, [])
    ((replaces,),) = stage.sql("select replaces from knit_attempts order by id desc limit 1")
    stage.sql("update knit_issued set ari_id = %s", replaces)
    assert isinstance(renewed(stage, cert_id), Renewed)
    (told,) = refusals(stage, cert_id)
    assert told["replaces"] == replaces
