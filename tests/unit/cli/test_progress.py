"""When a renewal that somebody waits for is over, and what is said until then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from knit.cli.progress import DOING, Lines, doing, ended
from knit.core.model import ENDED, Step
from tests.unit.cli.test_listed import CERT, NOW

BEFORE = replace(CERT, published_at=NOW, failures=2, check_at=None)


def test_it_is_over_when_a_newer_value_is_published() -> None:
    now = replace(BEFORE, published_at=NOW + timedelta(seconds=9), failures=0)
    result = ended(BEFORE, now)
    assert result is not None
    assert (result.word, result.failed, result.not_after) == ("published", False, CERT.not_after)


def test_it_is_over_when_one_more_failure_is_counted() -> None:
    at = NOW + timedelta(minutes=10)
    result = ended(BEFORE, replace(BEFORE, failures=3, last_error="the CA said no", retry_at=at))
    assert result is not None
    assert (result.word, result.failed, result.error, result.until) == ("failed", True, "the CA said no", at)


def test_it_is_over_when_a_worker_found_it_not_due() -> None:
    result = ended(BEFORE, replace(BEFORE, check_at=NOW + timedelta(days=60)))
    assert result is not None
    assert (result.word, result.failed, result.until) == ("not due", False, NOW + timedelta(days=60))


def test_it_has_failed_when_it_is_disabled_meanwhile() -> None:
    result = ended(BEFORE, replace(BEFORE, enabled=False))
    assert result is not None
    assert result.failed


@pytest.mark.parametrize("step", [None, Step.PLANNED, Step.ORDERED, Step.ISSUED])
def test_it_goes_on_while_nothing_of_that_has_happened(step: Step | None) -> None:
    assert ended(BEFORE, replace(BEFORE, step=step, last_error="an old one")) is None


def test_every_step_of_an_open_attempt_has_words() -> None:
    assert set(DOING) == set(Step) - ENDED


def test_a_renewal_nobody_takes_is_remarked_on() -> None:
    assert doing(BEFORE, 1) == "waiting for a worker"
    assert doing(BEFORE, 60) == "waiting for a worker; is one running?"
    assert doing(replace(BEFORE, step="ordered"), 60) == "proving control of the names over DNS"


def test_a_pipe_gets_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for text, seconds in (("a", 0.0), ("a", 1.0), ("b", 2.0)):
        lines.say(text, seconds)
    assert capsys.readouterr().err == "  0.0 s  a\n  2.0 s  b\n"
