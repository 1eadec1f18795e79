"""When a CA asks for a renewal, and when it is asked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core import ari
from knit.core.ari import Window
from knit.core.model.certificate import CertId
from knit.core.model.decision import CertState
from tests.unit.core.test_renewal import issued

NOW = datetime(2026, 11, 26, tzinfo=UTC)
LIFE = timedelta(days=90)
ENDS = NOW + LIFE
INSTANTS = st.datetimes(timezones=st.just(UTC))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["suggestedWindow", "start", "end", "x"]), inner),
)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def document(start: object, end: object, **more: object) -> dict[str, object]:
    return {"suggestedWindow": {"start": start, "end": end}, **more}


def test_a_window_is_read_with_its_explanation() -> None:
    told = document("2026-12-01T00:00:00Z", "2026-12-02T01:00:00.123456789+01:00", explanationURL="https://ca/why")
    found = ari.window(told)
    assert found == Window(
        start=datetime(2026, 12, 1, tzinfo=UTC),
        end=datetime(2026, 12, 2, 0, 0, 0, 123456, tzinfo=UTC),
        explanation="https://ca/why",
    )


@pytest.mark.parametrize("url", [None, 7, "javascript:alert(1)", "https://ca/\x1b[31m", f"https://ca/{'a' * 600}", ""])
def test_an_explanation_that_is_no_plain_url_is_none(url: object) -> None:
    told = document("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", explanationURL=url)
    assert ari.window(told).explanation is None


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, "names no window"),
        ([], "names no window"),
        ({}, "names no window"),
        ({"suggestedWindow": []}, "names no window"),
        (document(None, "2026-12-02T00:00:00Z"), "the start"),
        (document("2026-12-01T00:00:00Z", 7), "the end"),
        (document("2026-12-01T00:00:00", "2026-12-02T00:00:00Z"), "the start"),
        (document("tomorrow", "2026-12-02T00:00:00Z"), "the start"),
        (document("2026-12-01T00:00:00Z", "9999-12-31T23:59:59-23:59"), "the end"),
        (document("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z"), "ends at"),
        (document("2026-12-02T00:00:00Z", "2026-12-02T00:00:00Z"), "ends at"),
    ],
)
def test_what_says_nothing_is_no_answer(told: object, words: str) -> None:
    with pytest.raises(ari.Senseless, match=words):
        ari.window(told)


@given(JSON)
def test_whatever_json_comes_it_is_a_window_or_senseless(told: object) -> None:
    try:
        found = ari.window(told)
    except ari.Senseless:
        return
    assert found.start < found.end


def test_the_instant_is_one_in_the_window_and_stays_until_the_window_moves() -> None:
    window = Window(start=NOW + hours(1000), end=NOW + hours(1048))
    at = ari.chosen("a.b", window, NOW, ENDS)
    assert window.start <= at <= window.end
    assert at == ari.chosen("a.b", Window(start=window.start, end=window.end, explanation="https://x"), NOW, ENDS)
    assert at != ari.chosen("a.c", window, NOW, ENDS)
    assert at != ari.chosen("a.b", Window(start=window.start, end=window.end + hours(1)), NOW, ENDS)


def test_instants_of_many_certificates_are_spread_evenly_over_the_window() -> None:
    window = Window(start=NOW + hours(1000), end=NOW + hours(1010))
    tenths = [0] * 10
    for number in range(10_000):
        tenths[int((ari.chosen(f"aki.{number}", window, NOW, ENDS) - window.start) / hours(1))] += 1
    # Chi-squared with nine degrees of freedom: beyond 27.9 once in a thousand.
    assert sum((count - 1000) ** 2 / 1000 for count in tenths) < 27.9


def test_a_window_in_the_past_is_now() -> None:
    old = Window(start=NOW - hours(2000), end=NOW - hours(1999))
    assert ari.chosen("a.b", old, NOW - LIFE / 2, NOW + LIFE / 2) <= NOW
    assert ari.chosen("a.b", old, NOW, ENDS) <= NOW, "before the certificate itself"


@given(INSTANTS, INSTANTS, st.integers(1, 398 * 24))
def test_no_window_however_long_or_far_makes_an_instant_after_the_last_call(
    start: datetime, end: datetime, life_hours: int
) -> None:
    if end <= start:
        return
    facts = issued(hours(life_hours), timedelta(0))
    at = ari.chosen("a.b", Window(start=start, end=end), facts.not_before, facts.not_after)
    assert at <= max(start, ari.last_call(facts))


def test_of_a_century_only_the_certificates_own_life_counts() -> None:
    century = Window(start=NOW - timedelta(days=36500), end=NOW + timedelta(days=36500))
    found = [ari.chosen(f"aki.{number}", century, NOW, ENDS) for number in range(1000)]
    assert NOW <= min(found) < NOW + timedelta(days=2)
    assert ENDS - timedelta(days=8) < max(found) <= ENDS - LIFE / 20


@pytest.mark.parametrize(
    ("asked", "shortest", "longest"),
    [
        (None, hours(6), hours(6.6)),
        (timedelta(0), timedelta(minutes=1), timedelta(minutes=1.1)),
        (timedelta(seconds=-5), timedelta(minutes=1), timedelta(minutes=1.1)),
        (hours(2), hours(2), hours(2.2)),
        (timedelta(days=7), hours(24), hours(26.4)),
    ],
)
def test_the_next_question_is_when_the_ca_asks_within_a_minute_and_a_day(
    asked: timedelta | None, shortest: timedelta, longest: timedelta
) -> None:
    at = None if asked is None else NOW + asked
    found = [ari.next_poll(CertId(number), at, LIFE, NOW, first=False) - NOW for number in range(1, 500)]
    assert shortest <= min(found) <= max(found) <= longest
    assert len(set(found)) > 400


def test_certificates_issued_together_are_asked_about_evenly_over_six_hours_from_then_on() -> None:
    found = [ari.next_poll(CertId(number), NOW + hours(6), LIFE, NOW, first=True) - NOW for number in range(10_000)]
    tenths = [0] * 10
    for wait in found:
        tenths[int((wait - hours(6)) / hours(0.6))] += 1
    assert sum((count - 1000) ** 2 / 1000 for count in tenths) < 27.9


def test_a_certificate_of_an_hour_is_asked_about_more_than_once() -> None:
    wait = ari.next_poll(CertId(1), None, hours(1), NOW, first=False) - NOW
    assert timedelta(minutes=7) < wait < timedelta(minutes=9)


def test_vain_questions_come_ever_later_up_to_six_hours() -> None:
    waits = [ari.after_failure(CertId(1), failures, NOW) - NOW for failures in range(1, 40)]
    assert timedelta(minutes=1) <= waits[0] < timedelta(minutes=1.2)
    assert hours(6) <= waits[-1] <= hours(6.6)
    assert waits[:9] == sorted(waits[:9])


def test_an_order_replaces_what_the_same_directory_issued_for_one_of_its_names() -> None:
    known = issued(LIFE, timedelta(0), ari_id="a.b")
    state = CertState(issued=known)
    assert ari.replaced(state, known.directory, ["b.example", "new.example"]) == "a.b"
    assert ari.replaced(state, "https://other.example/dir", ["b.example"]) is None
    assert ari.replaced(state, known.directory, ["c.example"]) is None
    assert ari.replaced(replace(state, unreplaced=True), known.directory, ["b.example"]) is None
    assert ari.replaced(CertState(), known.directory, ["b.example"]) is None


def test_only_an_order_whose_certificate_the_ca_has_spoken_of_is_made_without_room() -> None:
    known = issued(LIFE, timedelta(0), ari_id="a.b")
    state = CertState(issued=known, ari_checked_at=NOW)
    assert ari.is_spared(state, known.directory, ["b.example"])
    assert not ari.is_spared(replace(state, ari_checked_at=None), known.directory, ["b.example"])
    assert not ari.is_spared(replace(state, unreplaced=True), known.directory, ["b.example"])
