"""Four months at a CA that says when: its word is kept, its outages are borne, and what it revokes is soon replaced."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from knit.core import ari
from knit.core.model.certificate import CertId
from tests.simulation.advised import Advice, AdvisedYear
from tests.simulation.test_year import LE, RULES, cas
from tests.simulation.year import DAY, HOUR, MINUTE, START, cert

COUNT = 300
SILENT = START + 70 * DAY, START + 80 * DAY
REVOCATION = START + 50.25 * DAY
TOLD_WITHIN = timedelta(hours=6.6) + 20 * MINUTE
"""Of each certificate, where the CA asks to be asked again in six hours; and a poll and a pass."""

STALE = SILENT[0] + ari.STALE - TOLD_WITHIN
"""From then on the last answer about some certificate is too old."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a year in which so many certificates were revoked at `REVOCATION`."""

    year: AdvisedYear
    revoked: frozenset[CertId]
    questions: int
    """By the time of the revocation."""


@pytest.fixture(scope="module")
def told() -> Told:
    profiles = ("shortlived", "tlsserver", "classic", "classic")
    rows = [
        cert(number, f"h{number}.d{number % 7}.example", f"d{number % 7}.example", profile=profiles[number % 4])
        for number in range(1, COUNT + 1)
    ]
    year = AdvisedYear(rows, RULES, cas(), Advice(silent=SILENT))
    year.run(REVOCATION)
    questions = year.advice.questions
    revoked = [row.spec.id for row in rows if row.spec.id % 5 < 2]
    year.revoke(revoked)
    year.run(START + 120 * DAY)
    return Told(year, frozenset(revoked), questions)


def renewals(told: Told) -> list[tuple[CertId, datetime, str]]:
    """Which, when, and what the CA called the certificate that was replaced; from the second certificate on."""
    return [
        (row.spec.id, at, f"{row.spec.id}.{number}")
        for row in told.year.rows.values()
        for number, (_, at, _) in enumerate(row.issued[1:], 1)
    ]


def test_nothing_expires_and_every_renewal_says_what_it_replaces(told: Told) -> None:
    year = told.year
    assert (year.expired, year.dead(year.clock.now)) == ([], [])
    assert year.cas[LE].replaced == {ari_id for *_, ari_id in renewals(told)}
    assert year.cas[LE].limited == 0


def test_what_the_ca_revokes_is_replaced_once_and_as_soon_as_the_ca_is_asked_about_it(told: Told) -> None:
    at_its_word = [(cert_id, at) for cert_id, at, ari_id in renewals(told) if ari_id in told.year.advice.revoked]
    assert Counter(cert_id for cert_id, _ in at_its_word) == dict.fromkeys(told.revoked, 1)
    assert all(REVOCATION <= at <= REVOCATION + TOLD_WITHIN for _, at in at_its_word)
    hours = Counter((at - REVOCATION) // HOUR for _, at in at_its_word)
    assert max(hours.values()) < len(told.revoked) / 3, "those who ask at different times order at different times"


def test_whatever_else_is_renewed_is_renewed_in_its_window_while_the_ca_answers(told: Told) -> None:
    advice, late = told.year.advice, []
    for cert_id, at, ari_id in renewals(told):
        window = advice.window(ari_id)
        if ari_id not in advice.revoked and not STALE <= at < SILENT[1] + TOLD_WITHIN:
            late += [] if window.start <= at <= window.end + 10 * MINUTE else [(cert_id, at, window)]
    assert late == []


def test_without_the_ca_s_word_nothing_is_renewed_later_than_by_the_rule_of_the_lifetime(told: Told) -> None:
    """A third of life is left then (half of a short one), or a ninetieth less; an earlier time the CA named counts."""
    lives, by_rule = told.year.advice.lives, 0
    for _, at, ari_id in renewals(told):
        if SILENT[0] + ari.STALE + HOUR <= at < SILENT[1]:
            born, ends = lives[ari_id]
            left, rule = (ends - at) / (ends - born), 1 / 2 if ends - born < 10 * DAY else 1 / 3
            assert rule - 1 / 89 < left <= max(rule, 5 / 12)
            by_rule += left <= rule
    assert by_rule > 50


def test_a_certificate_is_asked_about_four_times_a_day(told: Told) -> None:
    assert 3.5 < told.questions / COUNT / ((REVOCATION - START) / DAY) < 4.1
