"""Values that are lost: what counts as one, and how many are ordered anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.lost import LiveValue, judge
from knit.core.model.certificate import CertId, CertSpec, Issued
from knit.core.model.decision import CertState, Due, Reason, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.renewal import LOST_AGAIN, decide
from knit.core.value import Mark, Value

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DIRECTORY = "https://ca.example/directory"


def spec(number: int = 1) -> CertSpec:
    return CertSpec(
        id=CertId(number),
        names=("a.example",),
        provider="exec",
        valkey_key=f"certs:{number}",
        cert_path="/a.crt",
        key_path="/a.key",
    )


def issued(number: int = 1, *, days: int = 60, generation: int = 10) -> Issued:
    return Issued(
        cert_id=CertId(number),
        names_key="a.example",
        issuer="acme",
        directory=DIRECTORY,
        key_type="ec256",
        profile=None,
        serial="01",
        ari_id=None,
        not_before=NOW - timedelta(days=90 - days),
        not_after=NOW + timedelta(days=days),
        issued_at=NOW - timedelta(days=90 - days),
        sha256="a" * 64,
        generation=generation,
        valkey_key=f"certs:{number}",
        cert_path="/a.crt",
        key_path="/a.key",
    )


def value(generation: int | None, *, sha256: str = "b" * 64, days: int = 60, cert_path: str = "/a.crt") -> Value:
    mark = None if generation is None else Mark(cert_id=CertId(1), generation=generation, issued_at=NOW)
    return Value(
        fullchain=b"",
        privkey=b"",
        not_after=NOW + timedelta(days=days),
        sha256=sha256,
        cert_path=cert_path,
        key_path="/a.key",
        mark=mark,
    )


@pytest.mark.parametrize(
    ("live", "finding"),
    [
        (value(10, sha256="a" * 64), LiveValue.RECORDED),
        (value(3, sha256="a" * 64), LiveValue.RECORDED),
        (value(3, sha256="a" * 64, cert_path="/elsewhere"), LiveValue.NEWER),
        (value(11), LiveValue.NEWER),
        (value(10), LiveValue.OLDER),
        (value(9, days=600), LiveValue.OLDER),
        (value(2**50, days=60), LiveValue.OLDER),
        (value(None, days=61), LiveValue.NEWER),
        (value(None, days=60), LiveValue.OLDER),
        (value(None, days=20), LiveValue.OLDER),
    ],
    ids=[
        "same",
        "same, older",
        "same, moved",
        "ahead",
        "as new",
        "behind",
        "absurd",
        "Go, later",
        "Go, as late",
        "Go, earlier",
    ],
)
def test_generations_tell_what_is_lost_and_dates_where_there_are_none(live: Value, finding: LiveValue) -> None:
    assert judge(live, "spki", issued(), frozenset(), NOW) is finding


@pytest.mark.parametrize("generation", [None, 1, 10, 1000])
def test_a_compromised_key_is_a_loss_whatever_the_generation(generation: int | None) -> None:
    assert judge(value(generation, days=600), "bad", issued(), {"bad"}, NOW) is LiveValue.COMPROMISED
    assert LiveValue.COMPROMISED.lost


def test_a_value_lost_again_and_again_waits_until_the_first_time_is_a_week_ago() -> None:
    rules = Rules(issuers=(Terms(name="acme", directory=DIRECTORY),))
    state = CertState(issued=issued(), published=False, reorder_at=NOW + timedelta(days=2))
    assert decide(spec(), state, rules, NOW) == Wait(until=NOW + timedelta(days=2), reason=LOST_AGAIN)
    assert decide(spec(), state, rules, NOW + timedelta(days=2)) == Due(reason=Reason.NOT_PUBLISHED)
    assert decide(spec(), replace(state, reorder_at=None), rules, NOW) == Due(reason=Reason.NOT_PUBLISHED)


def test_what_is_due_for_another_reason_is_not_held_back() -> None:
    rules = Rules(issuers=(Terms(name="acme", directory=DIRECTORY),))
    braked = CertState(issued=issued(days=5), published=False, reorder_at=NOW + timedelta(days=2))
    assert decide(spec(), braked, rules, NOW) == Due(reason=Reason.WINDOW)
    asked = replace(spec(), requested_at=NOW)
    assert decide(asked, replace(braked, issued=issued()), rules, NOW) == Due(reason=Reason.REQUESTED)


def test_what_is_older_damaged_or_compromised_is_lost_and_nothing_else() -> None:
    assert {finding for finding in LiveValue if finding.lost} == {
        LiveValue.OLDER,
        LiveValue.DAMAGED,
        LiveValue.COMPROMISED,
    }
