"""What a CA suggests about renewal, as the issuer asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from knit.core.ari import Answer
from knit.errors import KnitError, RateLimited, Refused, Unreachable
from knit.issuers.acme.hosts import Garbled
from rig.scripted_ca import ScriptedCA
from tests.integration.acme.parties import Memory, Notes, TrustingProver, Wanted, Worker, now

pytestmark = pytest.mark.usefixtures("soon")

START = datetime(2030, 1, 1, tzinfo=UTC)
SOUND = {"suggestedWindow": {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}}


@pytest.fixture(scope="module")
def ari_id(running_ca: ScriptedCA) -> str:
    """Of a certificate that the CA has issued."""
    wanted = Wanted(names=("ari.example",))
    found = wanted.check(Worker(running_ca, Memory()).issue(wanted, Notes(), TrustingProver())).ari_id
    assert found is not None
    return found


@pytest.fixture
def asker(ca: ScriptedCA) -> Iterator[Worker]:
    """A process that has no account, and never needs one."""
    worker = Worker(ca, Memory())
    yield worker
    worker.issuer.close()


def answer(asker: Worker, ari_id: str) -> Answer:
    found = asker.issuer.renewal_info(ari_id)
    assert found is not None
    return found


def test_a_window_comes_by_one_get_without_an_account(ca: ScriptedCA, asker: Worker, ari_id: str) -> None:
    url = "https://ca.example/incident-7"
    ca.behave(ari={**SOUND, "explanationURL": url})
    found = [answer(asker, ari_id) for _ in range(5)][-1]
    assert (found.window.start, found.window.explanation) == (START, url)
    assert found.ask_again is not None
    assert abs(found.ask_again - now() - timedelta(hours=6)) < timedelta(minutes=1)
    counted = ca.counts()
    assert counted["requests"] == {"directory": 1, "renewalInfo": 5}
    assert {entry["method"] for entry in ca.journal()} == {"GET"}


@pytest.mark.parametrize(
    ("header", "wait"),
    [("120", 120), ("date", 120), (None, None), ("soon", None), ("-5", None), ("9" * 40, None), ("999999999", 604800)],
)
def test_the_ca_says_when_to_ask_again(
    ca: ScriptedCA, asker: Worker, ari_id: str, header: str | None, wait: int | None
) -> None:
    date = format_datetime(now() + timedelta(seconds=120), usegmt=True)
    ca.behave(ari=SOUND, ari_retry_after=date if header == "date" else header)
    found = answer(asker, ari_id).ask_again
    if wait is None:
        assert found is None
    else:
        assert found is not None
        assert abs((found - now()).total_seconds() - wait) < 10


def test_a_ca_whose_directory_does_not_offer_it_is_not_asked(ca: ScriptedCA, asker: Worker, ari_id: str) -> None:
    ca.script(offers_ari=False)
    assert asker.issuer.renewal_info(ari_id) is None
    assert ca.counts()["requests"] == {"directory": 1}


@pytest.mark.parametrize(
    ("told", "expected", "words"),
    [
        ({"status": 404, "type": "malformed", "detail": "no such certificate"}, Refused, "no such certificate"),
        ({"status": 500, "detail": "broken"}, Unreachable, "broken"),
        ({"status": 503, "headers": {"Retry-After": "3600"}}, Unreachable, "scripted"),
        ({"status": 429, "type": "rateLimited", "detail": "slowly"}, RateLimited, "slowly"),
        ({"act": "answer", "status": 200, "body": "<html>"}, Garbled, "is not JSON"),
        ({"act": "answer", "status": 200, "body": "[" * 100_000}, Garbled, "is not JSON"),
        ({"act": "answer", "status": 200, "body": "{}"}, Refused, "names no window"),
        ({"act": "answer", "status": 404, "body": "not here"}, Refused, "HTTP status 404"),
        ({"act": "reset"}, Unreachable, "cannot be reached"),
        ({"act": "huge", "size": 2_000_000}, Unreachable, "larger than 1 MiB"),
    ],
)
def test_whatever_else_comes_is_an_error_that_says_whom_it_is_about(
    ca: ScriptedCA, asker: Worker, ari_id: str, told: dict[str, object], expected: type[KnitError], words: str
) -> None:
    ca.fault("renewalInfo", times=0, **told)
    with pytest.raises(expected, match=words):
        asker.issuer.renewal_info(ari_id)


def test_one_lost_connection_is_no_trouble(ca: ScriptedCA, asker: Worker, ari_id: str) -> None:
    ca.fault("renewalInfo", act="reset")
    assert answer(asker, ari_id).window.start > now()


def test_a_window_is_as_the_ca_scripts_it_for_each_certificate(ca: ScriptedCA, asker: Worker, ari_id: str) -> None:
    ca.behave_for("other.example", ari={})
    ca.behave_for("ari.example", ari=SOUND)
    assert answer(asker, ari_id).window.start == START


def test_an_id_that_the_ca_does_not_know_is_refused_alone(asker: Worker) -> None:
    with pytest.raises(Refused, match="no certificate has this id"):
        asker.issuer.renewal_info("AAAA.AAAA")
