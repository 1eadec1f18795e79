"""When a certificate is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core import renewal
from knit.core.model.attempt import Attempt, AttemptId, Step
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.model.decision import CertState, Due, Policy, Reason, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.model.keys import KeyType

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RULES = Rules(issuers=(Terms(name="acme", directory="https://ca.example/dir"),))
POLICY = RULES.policy
SPEC = CertSpec(
    id=CertId(7),
    names=("a.example", "b.example"),
    provider="desec",
    valkey_key="certs/a",
    cert_path="/tls/a.crt",
    key_path="/tls/a.key",
)


def issued(life: timedelta, age: timedelta, **changes: object) -> Issued:
    facts = Issued(
        cert_id=SPEC.id,
        names_key=SPEC.names_key,
        issuer="acme",
        directory=RULES.issuers[0].directory,
        key_type="ec256",
        profile=None,
        serial="1",
        ari_id=None,
        not_before=NOW - age,
        not_after=NOW - age + life,
        issued_at=NOW - age,
        sha256="",
        generation=1,
        valkey_key=SPEC.valkey_key,
        cert_path=SPEC.cert_path,
        key_path=SPEC.key_path,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def fresh(**changes: object) -> CertState:
    return CertState(issued=issued(timedelta(days=90), timedelta(days=1), **changes))


def days(number: float) -> timedelta:
    return timedelta(days=number)


def reason(spec: CertSpec, state: CertState, policy: Policy = POLICY) -> Reason | None:
    verdict = renewal.decide(spec, state, replace(RULES, policy=policy), NOW)
    return verdict.reason if isinstance(verdict, Due) else None


def test_a_certificate_never_issued_is_due() -> None:
    assert reason(SPEC, CertState()) is Reason.NEVER_ISSUED


def test_a_fresh_certificate_is_not_due_and_says_until_when() -> None:
    verdict = renewal.decide(SPEC, fresh(), RULES, NOW)
    assert isinstance(verdict, Wait)
    assert NOW + days(59) <= verdict.until <= NOW + days(60)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"names_key": "a.example"}, Reason.NAMES_CHANGED),
        ({"issuer": "other", "directory": "https://other.example/dir"}, Reason.ISSUER_CHANGED),
        ({"directory": "https://staging.example/dir"}, Reason.DIRECTORY_CHANGED),
        ({"key_type": "rsa2048"}, Reason.KEY_TYPE_CHANGED),
        ({"profile": "shortlived"}, Reason.PROFILE_CHANGED),
        ({"preferred_chain": "ISRG Root X2"}, Reason.CHAIN_CHANGED),
    ],
)
def test_a_certificate_that_differs_from_what_is_wanted_is_due(changed: dict[str, object], why: Reason) -> None:
    assert reason(SPEC, fresh(**changed)) is why


def test_a_lost_value_is_due() -> None:
    assert reason(SPEC, replace(fresh(), published=False)) is Reason.NOT_PUBLISHED


def test_a_request_newer_than_the_issue_is_due_and_an_older_one_is_answered() -> None:
    state = fresh()
    assert state.issued is not None
    newer = replace(SPEC, requested_at=state.issued.issued_at + timedelta(seconds=1))
    older = replace(SPEC, requested_at=state.issued.issued_at - timedelta(seconds=1))
    assert reason(newer, state) is Reason.REQUESTED
    assert reason(older, state) is None


def test_the_instant_chosen_from_the_cas_window_is_obeyed() -> None:
    assert reason(SPEC, replace(fresh(), ari_at=NOW)) is Reason.ARI
    later = renewal.decide(SPEC, replace(fresh(), ari_at=NOW + days(3)), RULES, NOW)
    assert later == Wait(until=NOW + days(3), reason="not due")


def test_the_cas_instant_is_waited_for_past_the_rule_of_the_lifetime_while_its_word_is_fresh() -> None:
    state = CertState(issued=issued(days(90), days(65)), ari_at=NOW + days(5), ari_checked_at=NOW)
    assert renewal.decide(SPEC, state, RULES, NOW) == Wait(until=NOW + days(3), reason="not due")
    assert reason(SPEC, replace(state, ari_checked_at=NOW - days(4))) is Reason.WINDOW
    late = replace(state, issued=issued(days(90), days(86)))
    assert reason(SPEC, late) is Reason.WINDOW, "the last call"
    asked = replace(SPEC, renew_before=days(30))
    assert reason(asked, state) is Reason.WINDOW, "a person has asked for it sooner"


def test_a_ca_that_has_each_certificate_renewed_at_once_gets_two_a_week_or_one_for_a_third_of_life() -> None:
    state = replace(fresh(), ari_at=NOW - days(1), ari_checked_at=NOW)
    assert reason(SPEC, state) is Reason.ARI
    again = replace(state, ari_again_at=NOW + days(4))
    assert renewal.decide(SPEC, again, RULES, NOW) == Wait(until=NOW + days(4), reason="not due")
    short = CertState(issued=issued(days(6), days(1)), ari_at=NOW, ari_checked_at=NOW, ari_again_at=NOW + days(4))
    assert renewal.decide(SPEC, short, RULES, NOW) == Wait(until=NOW + days(1), reason="not due")


def test_a_failed_certificate_waits_for_its_next_try() -> None:
    at = NOW + timedelta(minutes=10)
    verdict = renewal.decide(SPEC, CertState(failures=2, retry_at=at), RULES, NOW)
    assert isinstance(verdict, Wait)
    assert verdict.until == at
    assert reason(SPEC, CertState(failures=2, retry_at=NOW)) is Reason.NEVER_ISSUED


def test_an_open_attempt_is_gone_on_with() -> None:
    attempt = Attempt(
        id=AttemptId(1),
        cert_id=SPEC.id,
        step=Step.ORDERED,
        reason=Reason.WINDOW,
        names=SPEC.names,
        provider="desec",
        issuer="acme",
        directory=RULES.issuers[0].directory,
        key_type=KeyType.EC256,
        profile=None,
        started_at=NOW,
    )
    assert reason(SPEC, replace(fresh(), attempt=attempt)) is Reason.UNFINISHED


@pytest.mark.parametrize(
    ("life", "left", "due"),
    [
        (90, 28.9, True),
        (90, 30.1, False),
        (45, 14.4, True),
        (45, 15.1, False),
        (200, 27.7, True),
        (200, 30.1, False),
        (160 / 24, 3.2, True),
        (160 / 24, 3.4, False),
    ],
)
def test_without_a_setting_a_third_of_the_life_is_left_at_most_30_days_and_half_of_a_short_life(
    life: float,
    left: float,
    due: bool,
) -> None:
    state = CertState(issued=issued(days(life), days(life - left)))
    assert (reason(SPEC, state) is Reason.WINDOW) is due


def test_an_explicit_threshold_is_honoured_but_never_in_the_first_third_of_life() -> None:
    wide = Policy(threshold=days(80))
    young, older = (CertState(issued=issued(days(90), days(age))) for age in (29.9, 31.1))
    assert reason(SPEC, young, wide) is None
    assert reason(SPEC, older, wide) is Reason.WINDOW


def test_a_certificates_own_renew_before_wins_over_the_setting() -> None:
    policy = Policy(threshold=days(10))
    state = CertState(issued=issued(days(90), days(75)))
    assert reason(SPEC, state, policy) is None
    assert reason(replace(SPEC, renew_before=days(20)), state, policy) is Reason.WINDOW


@given(
    life=st.floats(min_value=1 / 24, max_value=398),
    number=st.integers(min_value=1, max_value=2**40),
    threshold=st.none() | st.floats(min_value=0.01, max_value=500),
)
def test_every_life_has_a_window_after_its_first_third_and_before_its_end(
    life: float,
    number: int,
    threshold: float | None,
) -> None:
    spec = replace(SPEC, id=CertId(number))
    policy = Policy(threshold=None if threshold is None else days(threshold))
    facts = issued(days(life), days(0))
    start = renewal.window_start(spec, facts, policy)
    assert facts.not_before + days(life) / 3 <= start
    assert start == renewal.window_start(spec, facts, policy)
    assert start < facts.not_after


def test_windows_of_many_certificates_are_spread() -> None:
    facts = issued(days(90), days(0))
    starts = {renewal.window_start(replace(SPEC, id=CertId(n)), facts, POLICY) for n in range(1, 1001)}
    assert len(starts) == 1000
    assert max(starts) - min(starts) > timedelta(hours=20)


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=40), timedelta(days=365000)])
def test_a_request_from_the_future_is_none(ahead: timedelta) -> None:
    assert reason(replace(SPEC, requested_at=NOW + ahead), fresh()) is None


def test_what_has_not_failed_comes_first_and_of_that_what_expires_sooner() -> None:
    failed_and_urgent = replace(fresh(), issued=issued(days(90), days(89)), failures=1)
    never_issued = replace(fresh(), issued=None)
    a_day_left = replace(fresh(), issued=issued(days(90), days(89)))
    a_week_left = replace(fresh(), issued=issued(days(90), days(83)))
    a_month_left = replace(fresh(), issued=issued(days(90), days(60)))
    in_order = [a_day_left, never_issued, a_week_left, a_month_left, failed_and_urgent]
    backwards = in_order[::-1]
    assert sorted(backwards, key=lambda state: renewal.rank(state, NOW)) == in_order


OTHER = Terms(name="other", directory="https://other.example/dir", profile="short", key_type=KeyType.RSA2048)
BOTH = replace(RULES, issuers=(*RULES.issuers, OTHER))
FROM_OTHER = {"issuer": "other", "directory": OTHER.directory, "key_type": "rsa2048", "profile": "short"}


@pytest.mark.parametrize(
    ("issuer", "issued_by", "why"),
    [
        ("acme,other", {}, None),
        ("acme,other", FROM_OTHER, None),
        ("other,acme", {}, None),
        ("other", FROM_OTHER, None),
        ("other", FROM_OTHER | {"issuer": "renamed"}, None),
        ("", {"issuer": "renamed"}, None),
        ("other", {}, Reason.ISSUER_CHANGED),
        ("", FROM_OTHER, Reason.ISSUER_CHANGED),
        ("other", FROM_OTHER | {"directory": "https://gone.example/dir"}, Reason.DIRECTORY_CHANGED),
        ("other", FROM_OTHER | {"key_type": "ec256"}, Reason.KEY_TYPE_CHANGED),
        ("other", FROM_OTHER | {"profile": None}, Reason.PROFILE_CHANGED),
        ("unknown", FROM_OTHER, Reason.ISSUER_CHANGED),
        ("unknown", {"issuer": "unknown"}, None),
    ],
)
def test_a_certificate_is_as_wanted_while_it_comes_from_any_of_its_issuers_as_that_one_issues(
    issuer: str, issued_by: dict[str, object], why: Reason | None
) -> None:
    verdict = renewal.decide(replace(SPEC, issuer=issuer), fresh(**issued_by), BOTH, NOW)
    assert (verdict.reason if isinstance(verdict, Due) else None) is why
