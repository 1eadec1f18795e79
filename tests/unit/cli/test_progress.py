"""When a renewal that somebody waits for is over, what is said until then, and when nobody is going to do it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from knit.cli.progress import Lines, ended
from knit.cli.waited import DOING, Queued, asked_to_wait, lacking, waiting_for
from knit.core.model.attempt import Step
from knit.core.model.certificate import CertId
from knit.core.model.presence import Roll, Seen
from tests.unit.cli.test_listed import CERT, NOW

BEFORE = replace(CERT, published_at=NOW, failures=2, check_at=None)
SEEN = Seen(id=CertId(1), domains="a.example", held=False)
ALL = Roll(renewing=1, publishing=1, alone=False, scheduled=True)
NONE = Roll(renewing=0, publishing=0, alone=False, scheduled=False)
SOON = NOW + timedelta(minutes=5)
IDLE = Queued(messages=1)


def test_it_is_over_when_a_newer_value_is_published() -> None:
    now = replace(BEFORE, published_at=NOW + timedelta(seconds=9), failures=0)
    result = ended(BEFORE, now, looked=False)
    assert result is not None
    assert (result.word, result.failed, result.not_after) == ("published", False, CERT.not_after)


def test_it_is_over_when_one_more_failure_is_counted() -> None:
    at = NOW + timedelta(minutes=10)
    result = ended(BEFORE, replace(BEFORE, failures=3, last_error="the CA said no", retry_at=at), looked=False)
    assert result is not None
    assert (result.word, result.failed, result.error, result.until) == ("failed", True, "the CA said no", at)


def test_it_is_over_when_a_worker_has_found_it_not_due() -> None:
    fine = replace(BEFORE, failures=0, last_error=None, check_at=NOW + timedelta(days=60))
    assert ended(fine, fine, looked=False) is None
    result = ended(fine, fine, looked=True)
    assert result is not None
    assert (result.word, result.failed, result.until) == ("not due", False, NOW + timedelta(days=60))


@pytest.mark.parametrize(
    "why", [{"failures": 1}, {"last_error": "its published value is lost again"}, {"published_at": None}]
)
def test_what_is_not_due_and_not_as_wanted_has_failed(why: dict[str, object]) -> None:
    fine = replace(BEFORE, failures=0, last_error=None, check_at=SOON)
    now = replace(fine, **why)  # type: ignore[arg-type] # one field of it
    result = ended(now, now, looked=True)
    assert result is not None
    assert (result.failed, result.until) == (True, SOON)


def test_it_has_failed_when_it_is_disabled_meanwhile() -> None:
    result = ended(BEFORE, replace(BEFORE, enabled=False), looked=False)
    assert result is not None
    assert result.failed


@pytest.mark.parametrize("step", [None, Step.PLANNED, Step.ORDERED, Step.ISSUED])
def test_it_goes_on_while_nothing_of_that_has_happened(step: Step | None) -> None:
    assert ended(BEFORE, replace(BEFORE, step=step, last_error="an old one"), looked=False) is None


def test_every_step_of_an_open_attempt_has_words() -> None:
    assert set(DOING) == set(Step) - {Step.PUBLISHED, Step.FAILED, Step.ABANDONED}


SAID: dict[str, tuple[Seen, Roll, Queued | None]] = {
    "waiting for a worker": (SEEN, ALL, IDLE),
    "waiting for a worker; 7 in the queue": (SEEN, ALL, Queued(messages=7)),
    "waiting for a worker: worker-renew does not run": (SEEN, NONE, IDLE),
    "waiting for a worker, in whose way is: the queue does not answer": (
        SEEN,
        replace(ALL, trouble="the queue does not answer"),
        IDLE,
    ),
    "waiting for the queue: it does not answer": (SEEN, ALL, Queued(error="it does not answer")),
    "a worker looks whether it is due": (replace(SEEN, held=True), ALL, IDLE),
    "waiting until the DNS shows the TXT values of a.example": (
        replace(SEEN, held=True, step="ordered", proving=("a.example",)),
        ALL,
        IDLE,
    ),
    "the CA is checking the proofs of a.example": (
        replace(SEEN, held=True, step="ordered", proving=("a.example",), validating=True),
        ALL,
        IDLE,
    ),
    f"waiting until {SOON:%Y-%m-%dT%H:%M:%SZ}, as the CA asks: slow down": (
        replace(SEEN, step="planned", error_class="AccountLimited", error="slow down", retry_at=SOON),
        ALL,
        IDLE,
    ),
    f"waiting until {SOON:%Y-%m-%dT%H:%M:%SZ}, as the CA asks: slower": (
        replace(SEEN, paused_until=SOON, said="slower"),
        ALL,
        IDLE,
    ),
    "waiting for a server: Valkey is away": (
        replace(SEEN, step="ordered", error_class="Outage", error="Valkey is away"),
        ALL,
        None,
    ),
    "waiting for a lock: another certificate is using 'x'": (
        replace(SEEN, step="ordered", error_class="Busy", error="another certificate is using 'x'"),
        ALL,
        None,
    ),
    "waiting for a worker to go on with it": (replace(SEEN, step="ordered"), ALL, IDLE),
    "issued; waiting for worker-control, which does not run, to publish it": (
        replace(SEEN, step="issued"),
        replace(ALL, publishing=0),
        IDLE,
    ),
}


@pytest.mark.parametrize("text", list(SAID))
def test_what_is_waited_for_has_a_name(text: str) -> None:
    assert waiting_for(*SAID[text], NOW) == text


@pytest.mark.parametrize(
    ("seen", "roll", "queue", "words"),
    [
        (SEEN, NONE, IDLE, "start worker-renew and worker-control: neither runs"),
        (SEEN, replace(ALL, renewing=0), IDLE, "start worker-renew: it does not run"),
        (replace(SEEN, step="issued"), replace(ALL, publishing=0), IDLE, "start worker-control: it does not run"),
        (SEEN, ALL, Queued(error="the queue does not answer"), "the queue does not answer: start it"),
        (SEEN, replace(NONE, alone=True), IDLE, None),
        (SEEN, ALL, IDLE, None),
        (replace(SEEN, held=True, step="ordered"), NONE, IDLE, None),
    ],
)
def test_nobody_works_when_what_comes_next_has_nobody(seen: Seen, roll: Roll, queue: Queued, words: str | None) -> None:
    assert lacking(seen, roll, queue) == words


def test_an_order_that_is_finalized_is_not_kept_waiting_by_a_pause() -> None:
    assert asked_to_wait(replace(SEEN, paused_until=SOON), NOW) == SOON
    assert asked_to_wait(replace(SEEN, paused_until=SOON, step="finalizing"), NOW) is None


def test_a_pipe_gets_a_line_for_each_change_and_each_minute(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for text, seconds in (("a", 0.0), ("a", 1.0), ("b", 2.0), ("b", 61.0), ("b", 62.0)):
        lines.say(text, seconds)
    assert capsys.readouterr().err == "  0.0 s  a\n  2.0 s  b\n 62.0 s  b\n"
