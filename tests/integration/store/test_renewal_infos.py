"""What CAs suggest, as PostgreSQL keeps it: who is asked when, and what follows from an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest

from knit.core.ari import Answer, Question, Window, answered, not_offered, unanswered
from knit.core.events import Event, Kind, Severity
from knit.core.model.certificate import CertId
from knit.core.model.decision import CertState
from knit.store.ari.renewal_infos import RenewalInfos
from knit.store.events.events import EventLog
from tests.integration.store.conftest import Store

MOVED = (Kind.WINDOW_MOVED, Kind.WINDOW_PAST)


def now() -> datetime:
    return datetime.now(UTC)


def window(start_days: float, **more: str) -> Window:
    start = now() + timedelta(days=start_days)
    return Window(start=start, end=start + timedelta(days=1), **more)


@pytest.fixture
def infos(store: Store) -> RenewalInfos:
    return RenewalInfos(store.database)


def take(infos: RenewalInfos) -> Question:
    (question,) = infos.take(10)
    return question


def say(infos: RenewalInfos, asked: Window, question: Question | None = None) -> Question:
    """The CA suggests this when it is asked about the one certificate there is."""
    question = question or take(infos)
    infos.keep([answered(question, Answer(window=asked, ask_again=None), now())])
    return question


def wait_long(store: Store) -> None:
    store.database.write("update knit_schedule set check_at = now() + interval '30 days'")


def ask_again(store: Store) -> None:
    store.database.write("update knit_ari set next_poll_at = now()")


def state(store: Store) -> CertState:
    return store.load(CertId(1)).state


def told(store: Store) -> list[Event]:
    return [event for event in EventLog(store.database).since(0) if event.kind in MOVED]


def test_what_is_issued_is_asked_about_at_once_and_nothing_twice_at_the_same_time(
    store: Store, infos: RenewalInfos
) -> None:
    assert not infos.due()
    store.publish(store.add())
    assert infos.due()
    question = take(infos)
    assert (question.cert_id, question.ari_id, question.wanted, question.first) == (1, "a.b", True, True)
    assert infos.take(10) == []
    assert not infos.due()
    infos.give_back([question])
    assert take(infos) == question


def test_an_answer_is_what_renewals_go_by_until_another_certificate_is_published(
    store: Store, infos: RenewalInfos
) -> None:
    spec = store.add()
    store.publish(spec)
    asked = window(50, explanation="https://ca.example/why")
    say(infos, asked)
    known = state(store)
    assert known.ari_at is not None
    assert asked.start <= known.ari_at <= asked.end
    assert known.ari_checked_at is not None
    assert not infos.due()
    store.database.write("update knit_issued set ari_id = 'a.c'")
    assert state(store).ari_at is None
    assert take(infos).ari_id == "a.c"


def test_an_answer_about_a_certificate_that_was_replaced_meanwhile_is_not_kept(
    store: Store, infos: RenewalInfos
) -> None:
    store.publish(store.add())
    old = take(infos)
    store.database.write("update knit_issued set ari_id = 'a.c'")
    say(infos, window(-5), old)
    assert state(store).ari_at is None
    assert infos.due()


def test_a_certificate_is_looked_at_when_the_ca_says_so_and_not_before(store: Store, infos: RenewalInfos) -> None:
    spec = store.add()
    store.publish(spec)
    store.plan(spec)
    say(infos, window(50))
    assert store.candidate_ids() == []
    ask_again(store)
    say(infos, window(-2, explanation="https://ca.example/incident"))
    (found,) = store.passes.candidates_of([spec.id])
    assert found.state.ari_at is not None
    assert store.candidate_ids() == [spec.id]


def test_a_window_that_moves_is_told_and_one_in_the_past_is_a_warning_with_its_reason(
    store: Store, infos: RenewalInfos
) -> None:
    store.publish(store.add())
    say(infos, window(50))
    assert told(store) == []
    ask_again(store)
    say(infos, window(40))
    ask_again(store)
    say(infos, window(-2, explanation="https://ca.example/incident"))
    moved, past = told(store)
    assert (moved.kind, moved.severity, past.kind, past.severity) == (
        Kind.WINDOW_MOVED,
        Severity.INFO,
        Kind.WINDOW_PAST,
        Severity.WARNING,
    )
    assert past.detail["explanation"] == "https://ca.example/incident"
    assert moved.detail["before"] != moved.detail["after"]
    assert moved.detail["after"] == past.detail["before"]


def test_the_same_window_again_is_no_event(store: Store, infos: RenewalInfos) -> None:
    store.publish(store.add())
    same = window(50)
    for _ in range(3):
        ask_again(store)
        say(infos, same)
    assert told(store) == []


def test_a_vain_question_leaves_what_is_known_and_counts(store: Store, infos: RenewalInfos) -> None:
    store.publish(store.add())
    say(infos, window(50))
    wait_long(store)
    before, checks = state(store), store.database.rows("select check_at from knit_schedule")
    for failures in (1, 2):
        ask_again(store)
        question = take(infos)
        assert (question.failures, question.first) == (failures - 1, False)
        infos.keep([unanswered(question, "no\x1banswer", now())])
    assert state(store) == before
    assert store.database.rows("select check_at from knit_schedule") == checks, "no pass looks at it because of that"
    assert store.database.rows("select failures, error from knit_ari") == [{"failures": 2, "error": "no answer"}]


def test_a_ca_that_offers_it_no_more_leaves_the_rule_of_the_lifetime(store: Store, infos: RenewalInfos) -> None:
    store.publish(store.add())
    say(infos, window(50))
    ask_again(store)
    infos.keep([not_offered(take(infos), now())])
    assert (state(store).ari_at, state(store).ari_checked_at) == (None, None)
    checked = "select check_at <= now() as now from knit_schedule"
    assert store.database.rows(checked) == [{"now": True}], "the rule may have it sooner"
    wait_long(store)
    ask_again(store)
    infos.keep([not_offered(take(infos), now())])
    assert store.database.rows(checked) == [{"now": False}], "nothing is new"


@pytest.mark.parametrize(
    "change",
    [
        "update knit_certs set enabled = false",
        "update knit_issued set published_at = null",
        "update knit_issued set not_after = now() - interval '1 second'",
    ],
)
def test_what_is_of_no_use_any_more_is_taken_as_not_wanted(store: Store, infos: RenewalInfos, change: str) -> None:
    store.publish(store.add())
    store.database.write(change)
    assert not take(infos).wanted


def test_a_certificate_without_an_id_for_it_is_nobodys_question(store: Store, infos: RenewalInfos) -> None:
    store.publish(store.add())
    store.database.write("update knit_issued set ari_id = null")
    assert not infos.due()


def test_two_renewals_at_the_cas_word_in_a_week_make_the_next_one_wait(store: Store) -> None:
    store.publish(store.add())
    renewal = (
        "insert into knit_attempts (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, key_type, "
        "serial, started_at, ended_at) values (1, 1, '', 'published', 'the CA''s suggested renewal time has come', "
        "'{}', '', '', '', 'ec256', %(serial)s, now() - %(ago)s::interval, now())"
    )
    store.database.write(renewal, {"serial": "1", "ago": "8 days"})
    store.database.write(renewal, {"serial": "2", "ago": "3 days"})
    store.database.write(renewal, {"serial": None, "ago": "2 days"})
    assert state(store).ari_again_at is None
    store.database.write(renewal, {"serial": "3", "ago": "1 day"})
    again = state(store).ari_again_at
    assert again is not None
    assert abs(again - now() - timedelta(days=4)) < timedelta(minutes=1)
    (candidate,) = store.passes.candidates_of([CertId(1)])
    assert candidate.state.ari_again_at == again


@pytest.mark.parametrize(
    "change",
    ["next_poll_at = 'infinity'", "failures = -1", "chosen_at = 'infinity'", "window_start = '-infinity'"],
)
def test_what_a_hand_did_to_a_suggestion_is_made_good_by_asking_again(
    store: Store, infos: RenewalInfos, change: LiteralString
) -> None:
    store.publish(store.add())
    say(infos, window(50))
    assert store.passes.mend().certificates == ()
    store.database.write(f"update knit_ari set {change}")
    assert store.passes.mend().certificates == (1,)
    assert state(store).ari_at is None
    assert infos.due()
