"""Problem documents as a person will read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.retry import LONGEST_ASKED as LONGEST_WAIT
from knit.core.text import clean as plain
from knit.errors import AccountLimited, IdentifierRejected, KnitError, NotOffered, Refused
from knit.issuers.acme.problems import PREFIX, Problem, error_of, rejection, retry_at
from knit.issuers.acme.transport import Reply

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["type", "detail", "subproblems", "identifier"]), inner)
    ),
)


def asked(value: str) -> datetime | None:
    return retry_at(Reply(429, {"retry-after": value}, b""), NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", NOW),
        ("90", NOW + timedelta(seconds=90)),
        ("999999999999", NOW + LONGEST_WAIT),
        ("Mon, 23 Nov 2026 12:05:00 GMT", NOW + timedelta(minutes=5)),
        ("Mon, 23 Nov 2020 12:05:00 GMT", NOW),
        ("Mon, 23 Nov 2099 12:05:00 GMT", NOW + LONGEST_WAIT),
        ("-5", None),
        ("tomorrow", None),
        ("9" * 4000, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_a_week(value: str, expected: datetime | None) -> None:
    assert asked(value) == expected


@given(st.text())
def test_any_retry_after_is_an_instant_within_the_week_or_none(value: str) -> None:
    instant = asked(value)
    assert instant is None or NOW <= instant <= NOW + LONGEST_WAIT


@given(st.text(max_size=10_000))
def test_text_of_the_ca_is_one_printable_line_of_bounded_length(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown) <= 2000


@pytest.mark.parametrize("code", ["\x1b[31m\nred", "x" * 1_000_000, "\ud800"])
def test_the_word_of_the_ca_for_what_is_wrong_is_bounded_as_its_text_is(code: str) -> None:
    shown = str(Problem.from_json({"type": PREFIX + code, "detail": "no"}))
    assert shown.isprintable()
    assert len(shown) < 100


@given(JSON)
def test_any_json_is_some_problem(document: object) -> None:
    assert str(Problem.from_json(document)).isprintable()
    assert "example.com" in str(rejection("example.com", document))


def test_subproblems_and_links_are_part_of_the_text() -> None:
    document = {
        "type": "urn:ietf:params:acme:error:rejectedIdentifier",
        "detail": "two names refused",
        "instance": "https://ca.example/terms/2",
        "subproblems": [{"detail": "is blocked", "identifier": {"type": "dns", "value": "a.example"}}],
    }
    assert str(Problem.from_json(document)) == (
        "two names refused; see https://ca.example/terms/2; a.example: is blocked (rejectedIdentifier)"
    )


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["caa", "caa"], "caa", IdentifierRejected),
        (["caa", "rejectedIdentifier"], "compound", Refused),
        (["rateLimited"], "rateLimited", AccountLimited),
        ([], "compound", Refused),
    ],
)
def test_a_problem_that_gathers_others_of_one_kind_is_of_that_kind(
    words: list[str], code: str, error: type[KnitError]
) -> None:
    inner = [{"type": f"{PREFIX}{word}", "detail": "no"} for word in words]
    found = Problem.from_json({"type": f"{PREFIX}compound", "detail": "several", "subproblems": inner}, status=403)
    assert found.code == code
    assert type(error_of(found)) is error


def test_a_profile_that_the_ca_will_not_have_may_be_had_elsewhere() -> None:
    assert type(error_of(Problem(code="invalidProfile", text="no", status=400))) is NotOffered


def test_an_answer_without_a_problem_document_is_named_by_its_status() -> None:
    assert Problem.from_reply(Reply(502, {}, b"<html>"), NOW).text == "HTTP status 502 without a reason"


@pytest.mark.parametrize(
    ("said", "names_only"),
    [
        ('too many certificates already issued for "example.org"', True),
        ("too many certificates (5) already issued for this exact set of domains in the last 168h0m0s", True),
        ('too many failed authorizations for "A.B.Example.ORG"', True),
        ("too many new orders (300) from this account in the last 3h0m0s", False),
        ('too many certificates already issued for "example.com"', False),
        ('too many certificates already issued for "org"', False),
    ],
)
def test_a_limit_of_these_names_is_told_from_one_of_the_account(said: str, names_only: bool) -> None:
    error = error_of(Problem(code="rateLimited", text=said, status=429), ["*.a.b.example.org"])
    assert isinstance(error, AccountLimited)
    assert error.names_only is names_only


@pytest.mark.parametrize(
    ("code", "status"), [("rateLimited", 400), ("rateLimited", 503), ("", 429), ("malformed", 429)]
)
def test_the_word_or_the_status_alone_says_that_it_is_a_limit(code: str, status: int) -> None:
    assert isinstance(error_of(Problem(code=code, text="slow down", status=status)), AccountLimited)
