"""The issuer against a CA that is slow, refuses, breaks off, or lies."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from knit.errors import (
    AccountLimited,
    BundleMismatch,
    CredentialsRejected,
    IdentifierRejected,
    Interrupted,
    KnitError,
    OrderKept,
    RateLimited,
    Refused,
    Transient,
    Unreachable,
)
from rig.scripted_ca import ScriptedCA
from rig.scripted_ca.variants import STRANGE, WRONG
from tests.integration.acme.parties import Memory, Notes, TrustingProver, Wanted, Worker, now

NAMES = ("knit.example", "*.knit.example")

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture(scope="module")
def memory() -> Memory:
    """One account for all tests of the one CA."""
    return Memory()


def issue(
    ca: ScriptedCA, memory: Memory, notes: Notes | None = None, *, wanted: Wanted | None = None, url: str | None = None
) -> bytes:
    wanted = wanted or Wanted(names=NAMES)
    chain = Worker(ca, memory).issue(wanted, notes or Notes(), TrustingProver(), url)
    wanted.check(chain)
    return chain


def test_one_order_takes_seven_requests_for_one_name(ca: ScriptedCA, memory: Memory) -> None:
    issue(ca, memory)
    ca.reset()
    issue(ca, memory, wanted=Wanted(names=("one.example",)))
    counted = ca.counts()["requests"]
    assert counted.pop("directory") == counted.pop("newNonce") == 1
    assert sum(counted.values()) <= 8


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120), ("date", 120), (None, None), ("1000000000", 7 * 86400), ("soon", None)]
)
def test_a_rate_limit_says_until_when(ca: ScriptedCA, memory: Memory, header: str | None, seconds: int | None) -> None:
    value = format_datetime(now() + timedelta(seconds=120), usegmt=True) if header == "date" else header
    headers = {} if value is None else {"Retry-After": value}
    ca.fault("newOrder", status=429, type="rateLimited", detail="too many certificates", headers=headers)
    with pytest.raises(RateLimited, match=r"too many certificates \(rateLimited\)") as limited:
        issue(ca, memory)
    if seconds is None:
        assert limited.value.retry_at is None
    else:
        assert limited.value.retry_at is not None
        assert abs((limited.value.retry_at - now()).total_seconds() - seconds) < 10


@pytest.mark.parametrize("kind", ["newOrder", "authz", "challenge", "order", "certificate", "directory", "newNonce"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_once_costs_no_certificate(ca: ScriptedCA, memory: Memory, kind: str, when: str) -> None:
    ca.fault(kind, act="reset", when=when)
    issue(ca, memory)
    assert ca.counts_of(*NAMES)["finalized"] == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("polls", [0, 3])
def test_a_lost_reply_to_the_csr_never_finalizes_twice(ca: ScriptedCA, memory: Memory, when: str, polls: int) -> None:
    ca.behave(processing_polls=polls)
    ca.fault("finalize", act="reset", when=when)
    issue(ca, memory)
    counted = ca.counts_of(*NAMES)
    assert (counted["orders"], counted["finalized"], counted["issued"]) == (1, 1, 1)


def test_an_order_not_ready_yet_is_waited_for_and_finalized_once(ca: ScriptedCA, memory: Memory) -> None:
    ca.fault("finalize", status=403, type="orderNotReady")
    issue(ca, memory)
    assert ca.counts_of(*NAMES)["finalized"] == 1


@pytest.mark.parametrize("kind", ["newOrder", "challenge", "finalize", "certificate"])
def test_a_momentary_server_error_is_tried_again(ca: ScriptedCA, memory: Memory, kind: str) -> None:
    ca.fault(kind, act="answer", status=503, body="down for repair")
    issue(ca, memory)


def test_a_server_error_that_lasts_is_told_with_the_time_the_ca_named(ca: ScriptedCA, memory: Memory) -> None:
    ca.fault("newOrder", times=0, status=503, detail="maintenance", headers={"Retry-After": "3600"})
    with pytest.raises(Unreachable, match="the CA says: maintenance") as down:
        issue(ca, memory)
    assert down.value.retry_at is not None
    assert ca.counts()["requests"]["newOrder"] == 1


def test_half_of_all_nonces_refused_still_gives_a_certificate(ca: ScriptedCA, memory: Memory) -> None:
    ca.script(nonce_reject_percent=50)
    for _ in range(5):
        issue(ca, memory)


@pytest.mark.parametrize("step", ["ordered", "finalizing"])
def test_stopping_at_any_step_leaves_one_order_that_is_finalized_once(
    ca: ScriptedCA, memory: Memory, step: str
) -> None:
    ca.behave(processing_polls=2)
    wanted, notes = Wanted(names=NAMES), Notes(stop_at=step)
    with pytest.raises(Interrupted):
        issue(ca, memory, notes, wanted=wanted)
    issue(ca, memory, wanted=wanted, url=notes.order_url)
    counted = ca.counts_of(*NAMES)
    assert (counted["orders"], counted["finalized"], counted["issued"]) == (1, 1, 1)


def test_an_order_that_became_invalid_is_replaced_once(ca: ScriptedCA, memory: Memory) -> None:
    ca.behave(authz_problem={"type": "urn:ietf:params:acme:error:dns", "detail": "SERVFAIL looking up TXT"})
    failed, notes = Notes(), Notes()
    with pytest.raises(IdentifierRejected, match=r"knit\.example.*SERVFAIL looking up TXT \(dns\)"):
        issue(ca, memory, failed)
    ca.behave(authz_problem=None)
    issue(ca, memory, notes, url=failed.order_url)
    assert notes.order_url not in (None, failed.order_url)


def test_an_order_that_fails_after_its_csr_tells_why(ca: ScriptedCA, memory: Memory) -> None:
    ca.behave(
        order_problem={"type": "urn:ietf:params:acme:error:caa", "detail": "CAA record for knit.example forbids"},
        processing_polls=1,
    )
    with pytest.raises(IdentifierRejected, match=r"CAA record for knit\.example forbids \(caa\)"):
        issue(ca, memory)


def test_a_long_processing_is_left_to_be_resumed_when_the_ca_says(ca: ScriptedCA, memory: Memory) -> None:
    ca.behave(processing_polls=1000, retry_after="7200")
    notes, wanted = Notes(), Wanted(names=NAMES)
    with pytest.raises(Unreachable, match="not decided on the order") as left:
        issue(ca, memory, notes, wanted=wanted)
    assert left.value.retry_at is not None
    assert left.value.retry_at > now() + timedelta(hours=1)
    ca.behave(processing_polls=0, retry_after=None)


def test_an_order_that_is_done_long_before_the_ca_says_costs_no_day(ca: ScriptedCA, memory: Memory) -> None:
    ca.behave(processing_polls=2, retry_after="86400")
    issue(ca, memory)
    ca.behave(processing_polls=0, retry_after=None)


@pytest.mark.parametrize("variant", WRONG)
def test_a_wrong_certificate_is_never_accepted(ca: ScriptedCA, memory: Memory, variant: str) -> None:
    ca.behave(certificate=variant)
    with pytest.raises(BundleMismatch):
        issue(ca, memory)


@pytest.mark.parametrize("variant", STRANGE)
def test_a_right_certificate_in_a_strange_form_is_put_into_the_one_form(
    ca: ScriptedCA, memory: Memory, variant: str
) -> None:
    ca.behave(certificate=variant)
    chain = issue(ca, memory)
    assert re.fullmatch(
        rb"(-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n){2}", chain
    )


@pytest.mark.parametrize("kind", ["certificate", "order"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 404, "type": "malformed"},
        {"status": 403, "type": "unauthorized", "detail": "pending"},
        {"act": "answer", "status": 403, "body": "pending"},
        {"act": "answer", "status": 404, "content_type": "text/html", "body": "<html>not here</html>"},
        {"act": "answer", "status": 200, "content_type": "text/html", "body": "<html>one moment</html>"},
        {"act": "answer", "status": 200, "body": ""},
    ],
)
def test_an_answer_that_is_missing_after_the_csr_is_asked_for_again(
    ca: ScriptedCA, memory: Memory, kind: str, fault: dict[str, Any]
) -> None:
    ca.behave(processing_polls=1)
    ca.fault(kind, **fault)
    issue(ca, memory)
    counted = ca.counts_of(*NAMES)
    assert (counted["orders"], counted["finalized"], counted["issued"]) == (1, 1, 1)


def test_an_order_that_is_not_there_for_a_moment_is_gone_on_with(ca: ScriptedCA, memory: Memory) -> None:
    wanted, notes = Wanted(names=NAMES), Notes(stop_at="finalizing")
    with pytest.raises(Interrupted):
        issue(ca, memory, notes, wanted=wanted)
    ca.fault("order", status=404, type="malformed")
    issue(ca, memory, wanted=wanted, url=notes.order_url)
    assert ca.counts_of(*NAMES)["orders"] == 1


@pytest.mark.parametrize(
    "fault", [{"status": 404, "type": "malformed"}, {"status": 500}, {"act": "answer", "body": "<html>"}]
)
def test_an_alternate_chain_that_cannot_be_had_leaves_the_default(
    ca: ScriptedCA, memory: Memory, fault: dict[str, Any]
) -> None:
    ca.fault("certificate", nth=2, times=0, **fault)
    issue(ca, memory, wanted=Wanted(names=NAMES, preferred_chain="Scripted Root X2"))


@pytest.mark.parametrize(
    ("preferred", "certificates"),
    [
        ("Scripted Root X2", 2),
        ("Scripted Root X1", 3),
        ("Scripted Intermediate E1", 3),
        ("No Such Root", 3),
    ],
)
def test_the_preferred_chain_ends_under_that_name_rather_than_going_on_from_it(
    ca: ScriptedCA, memory: Memory, preferred: str, certificates: int
) -> None:
    """The default goes on from the second root to the first, which has signed it."""
    ca.behave(certificate="cross_signed")
    chain = issue(ca, memory, wanted=Wanted(names=NAMES, preferred_chain=preferred))
    assert chain.count(b"BEGIN") == certificates


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"act": "answer", "status": 403, "body": "<html>no</html>"}, OrderKept),
        ({"status": 403, "type": "userActionRequired"}, OrderKept),
        ({"status": 503, "headers": {"Retry-After": "900"}}, OrderKept),
        ({"status": 429, "type": "rateLimited"}, AccountLimited),
        ({"status": 400, "type": "badCSR"}, Refused),
    ],
)
def test_only_the_cas_own_refusal_of_the_csr_ends_an_order(
    ca: ScriptedCA, memory: Memory, fault: dict[str, Any], expected: type[KnitError]
) -> None:
    ca.fault("finalize", times=0, **fault)
    with pytest.raises(expected) as stopped:
        issue(ca, memory)
    assert isinstance(stopped.value, Transient) == (expected is not Refused)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("newOrder", {"act": "huge", "size": 3_000_000}),
        ("order", {"act": "answer", "body": "<html>hello"}),
        ("order", {"act": "answer", "body": "[1, 2]"}),
        ("authz", {"act": "answer", "body": '{"status": 7}'}),
        ("authz", {"act": "answer", "body": "[" * 100_000}),
        ("newOrder", {"act": "answer", "status": 302, "headers": {"Location": "https://elsewhere.example/"}}),
    ],
)
def test_a_senseless_answer_is_told_as_such(ca: ScriptedCA, memory: Memory, kind: str, fault: dict[str, Any]) -> None:
    ca.behave(processing_polls=5)
    ca.fault(kind, times=0, **fault)
    with pytest.raises(Transient, match="the CA"):
        issue(ca, memory)


def order_with(ca: ScriptedCA, **changed: object) -> str:
    base = ca.directory_url.rsplit("/", 1)[0]
    order: dict[str, object] = {
        "status": "pending",
        "identifiers": [{"type": "dns", "value": name} for name in NAMES],
        "authorizations": [f"{base}/authz/1"],
        "finalize": f"{base}/finalize/1",
    }
    return json.dumps({**order, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"authorizations": ["https://elsewhere.example/authz/1"]},
        {"authorizations": ["http://127.0.0.1/authz/1"]},
        {"finalize": "https://127.0.0.1:1/finalize"},
        {"finalize": "https://127.0.0.1/\r\nHost: elsewhere"},
        {"identifiers": [{"type": "dns", "value": "other.example"}]},
    ],
)
def test_an_order_that_leads_elsewhere_is_refused(ca: ScriptedCA, memory: Memory, changed: dict[str, object]) -> None:
    base = ca.directory_url.rsplit("/", 1)[0]
    ca.fault(
        "newOrder",
        act="answer",
        status=201,
        body=order_with(ca, **changed),
        headers={"Location": f"{base}/order/1"},
        content_type="application/json",
    )
    with pytest.raises(Unreachable, match="refused"):
        issue(ca, memory)


@pytest.mark.parametrize("token", ["../../etc/passwd", "short", "$(reboot)" * 4, "x" * 200])
def test_a_token_that_is_none_is_refused(ca: ScriptedCA, memory: Memory, token: str) -> None:
    base = ca.directory_url.rsplit("/", 1)[0]
    challenge = {"type": "dns-01", "url": f"{base}/chall/1", "token": token, "status": "pending"}
    body = {"status": "pending", "identifier": {"type": "dns", "value": "knit.example"}, "challenges": [challenge]}
    ca.fault("authz", act="answer", status=200, body=json.dumps(body), content_type="application/json")
    with pytest.raises(Unreachable, match="token"):
        issue(ca, memory)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (403, "userActionRequired", CredentialsRejected),
        (401, "unauthorized", CredentialsRejected),
        (400, "accountDoesNotExist", CredentialsRejected),
        (400, "rejectedIdentifier", IdentifierRejected),
        (403, "caa", IdentifierRejected),
        (400, "badCSR", Refused),
        (400, "malformed", Refused),
    ],
)
def test_a_refusal_says_whether_trying_again_can_help(
    ca: ScriptedCA, memory: Memory, status: int, kind: str, expected: type[KnitError]
) -> None:
    detail = "see https://ca.example/unpause?jwt=abc\x1b[31m\nred"
    ca.fault("newOrder", status=status, type=kind, detail=detail)
    with pytest.raises(expected) as refused:
        issue(ca, memory)
    told, _, mend = str(refused.value).partition("; ")
    assert told == f"the CA says: see https://ca.example/unpause?jwt=abc [31m red ({kind})"
    assert ("`knit account forget`" in mend) == (kind == "accountDoesNotExist")


def test_an_order_that_may_not_replace_is_made_without(ca: ScriptedCA, memory: Memory) -> None:
    ca.fault("newOrder", status=409, type="alreadyReplaced")
    notes = Notes()
    issue(ca, memory, notes, wanted=Wanted(names=NAMES, replaces="AAAA.AAAA"))
    assert ca.counts()["requests"]["newOrder"] == 2
    assert notes.steps.index("unreplaced") < notes.steps.index("ordered")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "rejectedIdentifier"), (403, "userActionRequired"), (400, "invalidProfile"), (403, "rateLimited")],
)
def test_what_is_wrong_with_the_order_itself_is_told_at_once(
    ca: ScriptedCA, memory: Memory, status: int, kind: str
) -> None:
    ca.fault("newOrder", status=status, type=kind)
    notes = Notes()
    with pytest.raises(KnitError, match=kind):
        issue(ca, memory, notes, wanted=Wanted(names=NAMES, replaces="AAAA.AAAA"))
    assert ca.counts()["requests"]["newOrder"] == 1
    assert notes.steps == []


def test_a_process_told_to_stop_does_not_wait_for_a_silent_ca(ca: ScriptedCA, memory: Memory) -> None:
    issue(ca, memory)
    ca.script(delays_ms={"newOrder": 20_000})
    worker, wanted = Worker(ca, memory), Wanted(names=NAMES)
    threading.Timer(0.5, worker.stopped.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        worker.issue(wanted, Notes(), TrustingProver())
    assert time.monotonic() - began < 5


def test_a_process_told_to_stop_leaves_polling_at_once(ca: ScriptedCA, memory: Memory) -> None:
    ca.behave(validation="never")
    worker, wanted = Worker(ca, memory), Wanted(names=NAMES)
    threading.Timer(0.5, worker.stopped.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        worker.issue(wanted, Notes(), TrustingProver())
    assert time.monotonic() - began < 3


def test_nothing_of_the_account_key_or_the_jws_is_logged(
    ca: ScriptedCA, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issue(ca, Memory())
    text = "\n".join(str(record.__dict__) for record in caplog.records if record.name.startswith(("knit", "acme")))
    assert "account registered" in text
    assert "PRIVATE KEY" not in text
    assert "signature" not in text
