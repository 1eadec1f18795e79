"""When a person has to bring a certificate, and what knit says until then."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from knit.core.imported import AGAIN, IMPORTED, NOTICE, PATIENCE, Lack, Needed, decide, is_stray, notice_at
from knit.core.model.attempt import Attempt, AttemptId, Step
from knit.core.model.certificate import CertId
from knit.core.model.decision import NOTHING, CertState
from knit.core.model.keys import KeyType
from tests.unit.core.test_lost import DIRECTORY, NOW, issued, spec

WANTED = replace(spec(), issuer=IMPORTED, provider="none")
BROUGHT = replace(issued(days=60), issuer=IMPORTED, directory=IMPORTED, not_before=NOW - timedelta(days=300))
DAY = timedelta(days=1)


def attempt(step: Step, *, issuer: str = IMPORTED, at: datetime = NOW) -> Attempt:
    return Attempt(
        id=AttemptId(1),
        cert_id=CertId(1),
        step=step,
        reason="",
        names=("a.example",),
        provider="none",
        issuer=issuer,
        directory=issuer,
        key_type=KeyType.EC256,
        profile=None,
        started_at=at,
    )


@pytest.mark.parametrize(
    ("life", "renew_before", "left"),
    [(365, None, 30), (90, None, 30), (60, None, 20), (6, None, 2), (365, 60, 60), (365, 1, 1), (90, 400, 90)],
)
def test_notice_is_given_thirty_days_before_the_end_or_a_third_of_the_life_or_as_asked(
    life: float, renew_before: float | None, left: float
) -> None:
    end, asked = NOW + life * DAY, None if renew_before is None else renew_before * DAY
    assert notice_at(NOW, end, asked) == end - left * DAY


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (CertState(issued=BROUGHT), BROUGHT.not_after - NOTICE),
        (CertState(issued=replace(BROUGHT, not_after=NOW + 29 * DAY)), (Lack.EXPIRING, NOW + 29 * DAY)),
        (CertState(issued=replace(BROUGHT, not_after=NOW)), (Lack.EXPIRED, NOW + DAY)),
        (CertState(issued=replace(BROUGHT, not_after=NOW), published=False), (Lack.EXPIRED, NOW + DAY)),
        (CertState(issued=BROUGHT, published=False), (Lack.LOST, NOW + AGAIN)),
        (NOTHING, (Lack.MISSING, None)),
        (CertState(issued=issued()), (Lack.MISSING, None)),
        (CertState(issued=replace(BROUGHT, names_key="b.example")), (Lack.MISSING, None)),
        (CertState(issued=BROUGHT, attempt=attempt(Step.ISSUED)), None),
        (CertState(issued=issued(), attempt=attempt(Step.PUBLISHING)), None),
        (CertState(attempt=attempt(Step.PLANNED)), NOW + PATIENCE),
        (CertState(attempt=attempt(Step.PLANNED, at=NOW - PATIENCE)), (Lack.MISSING, None)),
        (CertState(issued=BROUGHT, attempt=attempt(Step.ORDERED, issuer="acme")), BROUGHT.not_after - NOTICE),
    ],
)
def test_what_a_person_has_to_do_follows_from_what_is_published(
    state: CertState, found: datetime | tuple[Lack, datetime | None] | None
) -> None:
    said = decide(WANTED, state, NOW)
    assert ((said.lack, said.until) if isinstance(said, Needed) else said) == found
    assert not isinstance(said, Needed) or "`knit import pem`" in said.said


@pytest.mark.parametrize(
    ("open_", "stray"),
    [
        (attempt(Step.PLANNED), False),
        (attempt(Step.PLANNED, at=NOW - PATIENCE), True),
        (attempt(Step.ISSUED, at=NOW - DAY), False),
        (attempt(Step.FINALIZING), True),
        (attempt(Step.ISSUED, issuer=DIRECTORY), True),
    ],
)
def test_an_attempt_that_nobody_goes_on_with_is_ended(open_: Attempt, stray: bool) -> None:
    assert is_stray(open_, NOW) is stray
