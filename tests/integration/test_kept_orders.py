"""An order that may be a certificate is never given up for what is wrong around it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import pytest

from knit.core.brake import MASS_COUNT
from knit.core.model.attempt import Failed, Renewed
from knit.core.model.certificate import CertId
from knit.errors import Outage
from knit.issuers.acme import orders
from knit.issuers.acme.polling import PollPace
from knit.settings.environment import Environment
from rig.bind import Bind
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import Servers
from tests.integration.test_flows import Life, Stage

HTML = {"act": "answer", "status": 404, "content_type": "text/html", "body": "<html>not here</html>", "times": 0}


pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def ca(scripted_ca: ScriptedCA) -> ScriptedCA:
    return scripted_ca


@pytest.fixture
def stage(ca: ScriptedCA, bind: Bind, migrated_url: str, valkey: Valkey, queue_valkey: Valkey) -> Stage:
    valkey.flush()
    servers = Servers(ca=ca, dns=bind, database=migrated_url, valkey=valkey, queue=queue_valkey)
    return Stage(servers, Environment({**servers.settings(), "KNIT_QUEUE_URL": ""}))


def tried(stage: Stage, cert_id: CertId) -> Any:
    """One try, whatever was said about waiting."""
    stage.sql("update knit_attempts set retry_at = null where cert_id = %s", cert_id)
    stage.sql("update knit_schedule set retry_at = null where cert_id = %s", cert_id)
    with stage.process(Life()) as flows:
        return flows.renew.run(cert_id)


def wait_of(stage: Stage, cert_id: CertId) -> float:
    """Seconds to the next try."""
    ((seconds,),) = stage.sql(
        "select extract(epoch from retry_at - now()) from knit_attempts where cert_id = %s and ended_at is null",
        cert_id,
    )
    return float(seconds)


@pytest.fixture
def hasty(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that asks again after 50 ms, and not for long: `soon`, which the whole file has, comes before."""
    monkeypatch.setattr(orders, "ANSWER", PollPace(first=0.05, total=0.2))
    monkeypatch.setattr(orders, "ISSUANCE", PollPace(first=0.02, total=1.0))


def problem(code: str) -> str:
    return json.dumps({"type": f"urn:ietf:params:acme:error:{code}", "detail": "says the CA"})


NO_END = [
    {"body": json.dumps({"status": "valid", "identifiers": [{"type": "dns", "value": "other.example"}]})},
    {"body": json.dumps({"status": "processing", "identifiers": [{"type": "dns", "value": "other.example"}]})},
    {"body": json.dumps({"status": "invalid"})},
    {"body": json.dumps({"status": "invalid", "error": {}})},
    {"body": json.dumps({"status": "invalid", "error": "no"})},
    {"body": json.dumps({"status": "pending"})},
    {"body": json.dumps({"status": "expired"})},
    {"status": 400, "body": problem("rateLimited")},
    {"status": 400, "body": problem("serverInternal")},
    {"status": 404, "body": problem("orderNotReady")},
    {"status": 404, "body": json.dumps({"type": "about:blank", "status": 404})},
]
"""Answers about an order that do not say, in ACME's words, that it is over."""


@pytest.mark.parametrize("answer", NO_END)
@pytest.mark.parametrize("later", [False, True], ids=["while it is waited for", "when it is gone on with"])
@pytest.mark.usefixtures("hasty")
def test_nothing_but_the_cas_own_word_ends_an_order_that_is_finalized(
    stage: Stage, ca: ScriptedCA, answer: dict[str, Any], later: bool
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(processing_polls=1)
    if later:
        ca.fault("certificate", **HTML)
        assert isinstance(tried(stage, cert_id), Failed)
        ca.clear_faults()
    ca.fault("order", act="answer", times=0, **answer)
    for _ in range(2):
        assert isinstance(tried(stage, cert_id), Failed)
        stage.sql("update knit_pauses set until = now()")
    ca.clear_faults()
    assert isinstance(tried(stage, cert_id), Renewed)
    counted = ca.counts_of(name)
    assert (counted["orders"], counted["finalized"]) == (1, 1)


def not_taken_yet(stage: Stage, ca: ScriptedCA, cert_id: CertId) -> str:
    """Leave an order whose CSR may have been sent, and was not taken; gives its URL."""
    ca.fault("finalize", act="reset", times=0)
    assert isinstance(tried(stage, cert_id), Failed)
    ca.clear_faults()
    ((url,),) = stage.sql("select order_url from knit_attempts where cert_id = %s and ended_at is null", cert_id)
    return str(url)


@pytest.mark.parametrize("code", ["malformed", "badCSR", "orderNotReady", "unauthorized"])
@pytest.mark.usefixtures("hasty")
def test_a_refusal_of_a_csr_that_had_arrived_before_is_believed_only_beside_the_order(
    stage: Stage, ca: ScriptedCA, code: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    url = not_taken_yet(stage, ca, cert_id)
    stale = {"status": "ready", "finalize": f"{url}/finalize"}
    ca.fault("finalize", act="reset", when="after")
    ca.fault("order", act="answer", nth=2, body=json.dumps(stale))
    ca.fault("finalize", nth=2, status=400, type=code)
    assert isinstance(tried(stage, cert_id), Renewed)
    counted = ca.counts_of(name)
    assert (counted["orders"], counted["finalized"]) == (1, 1)


@pytest.mark.usefixtures("hasty")
def test_a_csr_that_is_refused_while_the_order_waits_for_it_ends_the_order(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, _),) = stage.wanted(1).items()
    not_taken_yet(stage, ca, cert_id)
    ca.fault("finalize", times=0, status=400, type="badCSR")
    assert isinstance(tried(stage, cert_id), Failed)
    assert stage.sql("select step, error_class from knit_attempts") == [("failed", "KeyRefused")]


@pytest.mark.parametrize("code", ["serverInternal", "rateLimited", "caa"])
def test_orders_that_end_with_a_reason_are_made_anew_ever_more_rarely(stage: Stage, ca: ScriptedCA, code: str) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(order_problem=json.loads(problem(code)), validation="dns")
    waits: list[float] = []
    while len(waits) < 3:
        failed = tried(stage, cert_id)
        assert isinstance(failed, Failed)
        if not stage.sql("select id from knit_attempts where ended_at is null"):
            ((seconds,),) = stage.sql("select extract(epoch from retry_at - now())::float8 from knit_schedule")
            waits.append(seconds)
    assert all(0.7 < wait / step < 1.3 for wait, step in zip(waits, (60, 600, 6000), strict=True))
    assert ca.counts_of(name)["orders"] == 3


@pytest.mark.usefixtures("hasty")
def test_a_ca_that_forgets_what_it_was_given_is_asked_for_three_orders_and_then_left_for_a_week(
    stage: Stage, ca: ScriptedCA
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(processing_polls=1)
    ca.fault("order", times=0, status=404, type="malformed")
    outcomes = [tried(stage, cert_id) for _ in range(4)]
    assert ca.counts_of(name)["orders"] == 3
    last = outcomes[-1]
    assert isinstance(last, Failed)
    assert last.retry_at is not None
    assert last.retry_at - datetime.now(UTC) > timedelta(days=6)
    assert "is gone" in last.error
    stage.sql("update knit_attempts set ended_at = ended_at - interval '8 days'")
    ca.clear_faults()
    assert isinstance(tried(stage, cert_id), Renewed)


@pytest.mark.usefixtures("hasty")
def test_an_order_that_is_invalid_without_a_reason_is_given_up_once_the_limits_count_it_no_more(
    stage: Stage, ca: ScriptedCA
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(processing_polls=1)
    ca.fault("order", act="answer", times=0, body='{"status": "invalid"}')
    for _ in range(2):
        tried(stage, cert_id)
    assert ca.counts_of(name)["orders"] == 1
    stage.sql("update knit_attempts set started_at = now() - interval '8 days'")
    tried(stage, cert_id)
    ca.clear_faults()
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 2


def shown_invalid(ca: ScriptedCA, name: str) -> None:
    """From now on the order is invalid without a reason, whatever became of it; its authorizations are its own."""
    body = json.dumps({"status": "invalid", "authorizations": [authz_of(ca, name)]})
    ca.fault("order", act="answer", times=0, body=body)


def authz_of(ca: ScriptedCA, name: str) -> str:
    path = next(one["path"] for one in ca.journal() if one["kind"] == "authz" and one["names"] == name)
    return urljoin(ca.directory_url, str(path))


@pytest.mark.parametrize("status", ["deactivated", "expired", "revoked", "invalid", "valid", "pending", None])
@pytest.mark.usefixtures("hasty")
def test_an_order_that_is_invalid_without_a_reason_is_over_at_once_where_a_proof_of_it_is(
    stage: Stage, ca: ScriptedCA, status: str | None
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("certificate", **HTML)
    tried(stage, cert_id)
    ca.clear_faults()
    shown_invalid(ca, name)
    answer = HTML if status is None else {"act": "answer", "times": 0, "body": json.dumps({"status": status})}
    ca.fault("authz", **answer)
    failed = tried(stage, cert_id)
    assert isinstance(failed, Failed)
    is_over = status not in ("valid", "pending", None)
    assert stage.sql("select step, error_class from knit_attempts") == [
        ("failed", "IdentifierRejected") if is_over else ("finalizing", "OrderKept")
    ]
    assert (f"authorization {status}" in failed.error) is is_over
    ca.clear_faults()
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 1 + is_over


@pytest.mark.parametrize("answer", ["gone", "invalid", "deactivated"])
@pytest.mark.usefixtures("hasty")
def test_a_bundle_that_is_refused_is_never_ordered_again_because_its_order_is_over(
    stage: Stage, ca: ScriptedCA, answer: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(certificate="missing_san", validation="dns")
    tried(stage, cert_id)
    if answer == "gone":
        ca.fault("order", times=0, status=404, type="malformed")
    elif answer == "invalid":
        ca.fault("order", act="answer", times=0, body=json.dumps({"status": "invalid", "error": {"detail": "no more"}}))
    else:
        shown_invalid(ca, name)
    for _ in range(4):
        failed = tried(stage, cert_id)
        assert isinstance(failed, Failed)
        assert "renew --force" in failed.error
    assert stage.sql("select step, error_class from knit_attempts") == [("finalizing", "BundleMismatch")]
    assert ca.counts_of(name)["orders"] == 1


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("hasty")
def test_keys_that_are_lost_all_at_once_cost_no_more_orders_than_lost_values(stage: Stage, ca: ScriptedCA) -> None:
    names = stage.wanted(MASS_COUNT + 3)
    ca.fault("certificate", **HTML)
    for cert_id in names:
        assert isinstance(tried(stage, cert_id), Failed)
    ca.clear_faults()
    stage.servers.valkey.flush()
    with stage.process(Life()) as flows:
        flows.publish.belonging.check()
    outcomes = [tried(stage, cert_id) for cert_id in names]
    assert sum(isinstance(outcome, Renewed) for outcome in outcomes) == MASS_COUNT
    held_back = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert all("held back" in outcome.error for outcome in held_back)
    assert ca.counts()["requests"]["newOrder"] == len(names) + MASS_COUNT
    stage.sql("update knit_attempts set ended_at = ended_at - interval '1 hour'")
    assert all(isinstance(tried(stage, outcome.cert_id), Renewed) for outcome in held_back)


@pytest.mark.parametrize("kind", ["certificate", "order"])
def test_an_order_whose_certificate_is_not_to_be_had_is_asked_about_on_the_ladder_and_got_in_the_end(
    stage: Stage, ca: ScriptedCA, kind: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(processing_polls=1)
    ca.fault(kind, **HTML)
    waits = []
    for _ in range(3):
        assert isinstance(tried(stage, cert_id), Failed)
        waits.append(wait_of(stage, cert_id))
    assert all(0.7 < wait / step < 1.3 for wait, step in zip(waits, (60, 600, 6000), strict=True))
    ca.clear_faults()
    assert isinstance(tried(stage, cert_id), Renewed)
    counted = ca.counts_of(name)
    assert (counted["orders"], counted["finalized"]) == (1, 1)


def test_a_ca_that_does_not_know_the_account_for_a_while_costs_no_certificate(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("certificate", **HTML)
    tried(stage, cert_id)
    ca.clear_faults()
    ca.fault("order", status=400, type="accountDoesNotExist")
    assert isinstance(tried(stage, cert_id), Failed)
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 1


@pytest.mark.parametrize(
    "variant", ["missing_san", "other_key", "expired", "from_root", "issuer_over", "with_private_key"]
)
def test_a_bundle_that_is_refused_is_kept_and_never_ordered_again_for_it(
    stage: Stage, ca: ScriptedCA, variant: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(certificate=variant, validation="dns")
    tries = [tried(stage, cert_id) for _ in range(6)]
    assert all(isinstance(failed, Failed) for failed in tries)
    assert "renew --force" in tries[-1].error or variant == "with_private_key"
    counted = ca.counts_of(name)
    assert (counted["orders"], counted["finalized"]) == (1, 1)


def test_a_bare_leaf_is_accepted_once_the_root_that_signed_it_is_named(
    stage: Stage, ca: ScriptedCA, tmp_path: Any
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(certificate="from_root", validation="dns")
    failed = tried(stage, cert_id)
    assert isinstance(failed, Failed)
    assert "Scripted Root X1" in failed.error
    assert "KNIT_ACME_CA_FILE" in failed.error
    # It was kept: the CA is not needed any more.
    ca.fault("certificate", **HTML)
    roots = tmp_path / "roots.pem"
    roots.write_text(ca.ca_file.read_text() + ca.roots()[0])
    trusting = replace(stage, environment=Environment({**stage.environment, "KNIT_ACME_CA_FILE": str(roots)}))
    with trusting.process(Life()) as flows:
        memory: Any = flows.renew.memory
        memory.accept(flows.renew.rules.named("acme"))
    assert isinstance(tried(trusting, cert_id), Renewed)
    assert ca.counts_of(name)["finalized"] == 1
    with trusting.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        assert flows.publish.waiting().published == (cert_id,)
        assert str(client.get(name)).count("BEGIN CERTIFICATE") == 1


def test_another_certificate_can_be_asked_for_in_place_of_one_that_is_refused(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(certificate="missing_san", validation="dns")
    tried(stage, cert_id)
    ca.behave(certificate="good", validation="dns")
    stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["finalized"] == 2


def test_a_dns_provider_that_is_no_longer_set_up_costs_no_order_that_is_finalized(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("certificate", **HTML)
    tried(stage, cert_id)
    ca.clear_faults()
    stage.sql("update knit_certs set provider = 'desec' where id = %s", cert_id)
    stage.sql("update knit_certs set seen = wanted where id = %s", cert_id)
    stage.sql("update knit_attempts set provider = 'desec' where cert_id = %s", cert_id)
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 1


def test_a_refusal_of_the_staging_valkey_costs_no_order_that_is_finalized(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("certificate", **HTML)
    tried(stage, cert_id)
    ca.clear_faults()
    with closing(stage.servers.valkey.client()) as client:
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(Outage, match="OOM"):
                tried(stage, cert_id)
        finally:
            client.config_set("maxmemory", "0")
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 1
