"""What happens is one line in the log: an event in the words of its kind, what was given up with its error."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from knit.app.listeners import LEVELS, to_all, to_log
from knit.core.events import Kind, Severity, Told
from knit.core.model.attempt import AttemptId, Failed, Renewed, Skipped
from knit.core.model.certificate import CertId
from knit.core.model.results import GivenUp, PassPlan, Publishing, Result
from knit.errors import Unreachable
from knit.log import Logfmt

AT = datetime(2026, 3, 1, tzinfo=UTC)


def lines(caplog: pytest.LogCaptureFixture, *told: Told | Result) -> list[str]:
    caplog.set_level(logging.DEBUG)
    for one in told:
        to_log(one)
    return [Logfmt().format(record).partition(" ")[2] for record in caplog.records]


def test_an_event_is_a_line_in_the_words_of_its_kind_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(
        kind=Kind.RENEWAL_POSTPONED,
        severity=Severity.WARNING,
        cert_id=CertId(7),
        attempt_id=AttemptId(9),
        detail={"names": "a.example", "error": "the CA is away", "next_try": AT},
    )
    (line,) = lines(caplog, told)
    assert line == (
        'level=WARN msg="renewal postponed" cert=7 attempt=9 names=a.example error="the CA is away"'
        " next_try=2026-03-01T00:00:00Z"
    )


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("severity", Severity)
def test_every_kind_and_severity_has_its_line(caplog: pytest.LogCaptureFixture, kind: Kind, severity: Severity) -> None:
    lines(caplog, Told(kind=kind, severity=severity))
    (record,) = caplog.records
    assert (record.getMessage(), record.levelno) == (kind.value, LEVELS[severity])


def test_how_a_message_ended_is_no_line_but_one_that_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[Result] = [
        PassPlan(renew=(), unadoptable=0),
        Publishing(failed=1),
        Renewed(cert_id=CertId(7), attempt_id=AttemptId(9)),
        Skipped(cert_id=CertId(7), reason="not due"),
        Failed(cert_id=CertId(7), error="told as an event", retry_at=None),
    ]
    given_up = GivenUp(what="publish", about=(7,), error=Unreachable("Valkey is away"))
    bug = GivenUp(what="renew", about=(7,), error=ValueError("x"))
    away, broken = lines(caplog, *ends, given_up, bug)
    assert (
        away == 'level=ERROR msg="not done" what=publish cert=7 error="Valkey is away" kept="what is published stays"'
    )
    assert broken.startswith('level=ERROR msg="bug in knit: message given up" actor=renew about=(7,) trace=')


def test_each_listener_hears_all() -> None:
    first: list[object] = []
    second: list[object] = []
    told = Told(kind=Kind.CERTIFICATE_ISSUED)
    to_all(first.append, second.append)(told)
    assert (first, second) == ([told], [told])
