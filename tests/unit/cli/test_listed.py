"""What a certificate looks like to a program, in a pipe and at a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from knit.cli import listed
from knit.cli.output import as_json, clean, instant, table
from knit.core.model.certificate import CertId
from knit.core.model.listing import Listed
from knit.core.records import of_certificate
from knit.core.words import duration, in_days, in_hours

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CERT = Listed(
    id=CertId(7),
    enabled=True,
    domains="b.example,*.b.example",
    adopted=True,
    provider="desec",
    valkey_key="tls:b",
    cert_path="/etc/b.crt",
    key_path="/etc/b.key",
    not_after=NOW + timedelta(days=53),
    last_renewed=None,
    last_error=None,
    issuer="acme",
    key_type="ec256",
    profile=None,
    preferred_chain=None,
    renew_before=None,
    requested_at=None,
    published_at=None,
    step=None,
    failures=0,
    retry_at=None,
    check_at=None,
)


def test_the_plain_table_is_the_go_knits() -> None:
    head, row = listed.plain([CERT])
    assert head.split() == [
        "ID", "ENABLED", "DOMAINS", "PROVIDER", "VALKEY_KEY", "CERT_PATH", "KEY_PATH", "NOT_AFTER", "LAST_RENEWED",
        "LAST_ERROR",
    ]  # fmt: skip
    assert row.split() == [
        "7", "true", "b.example,*.b.example", "desec", "tls:b", "/etc/b.crt", "/etc/b.key", "2026-04-23T00:00:00Z", "-",
        "-",
    ]  # fmt: skip
    assert head.index("NOT_AFTER") == row.index("2026-04-23")


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([["a", "bb", "c"], ["aaa", "b", "c"]]) == ["a    bb  c", "aaa  b   c"]


def test_times_are_rfc_3339_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert instant(datetime(2026, 1, 1, 1, 0, 0, 999_999, tzinfo=east)) == "2025-12-31T23:00:00Z"
    assert instant(None) == "-"


def test_a_row_of_other_software_cannot_move_the_cursor() -> None:
    (_, row) = listed.plain([replace(CERT, last_error="bad\n\x1b[2Jthing")])
    assert "bad\\n\\x1b[2Jthing" in row
    assert clean("ünï") == "ünï"


def test_json_has_names_as_a_list_and_times_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    as_json([of_certificate(replace(CERT, renew_before=timedelta(days=30)))])
    (found,) = json.loads(capsys.readouterr().out)
    assert found["domains"] == ["b.example", "*.b.example"]
    assert found["not_after"] == "2026-04-23T00:00:00Z"
    assert found["renew_before"] == "720h"
    assert found["last_renewed"] is None


@pytest.mark.parametrize(("seconds", "text"), [(7200, "2h"), (5400, "90m"), (61, "61s")])
def test_a_duration_is_written_as_go_reads_it(seconds: int, text: str) -> None:
    assert in_hours(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "said"), [("480h", "20d"), ("36h", "36h"), ("90m", "90m"), ("86400", "1d"), ("7", "7s")]
)
def test_people_are_told_days_where_they_are_whole_and_what_they_are_told_they_can_type(text: str, said: str) -> None:
    assert in_days(duration(text)) == said
    assert duration(said) == duration(text)


@pytest.mark.parametrize("columns", [60, 80, 120, 250])
def test_the_table_fits_the_width_there_is(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long = replace(CERT, domains=",".join(f"name{i}.long-domain.example" for i in range(30)), last_error="no " * 90)
    certs = [replace(CERT, directory="https://acme-v02.api.letsencrypt.org/directory"), long] * 100
    lines = listed.for_a_person(certs, NOW)
    assert (len(lines), max(map(len, lines)) <= columns) == (201, True)
    assert lines[0].split() == ["ID", "NAMES", "CA", "LEFT", "NEXT", "STATE"]
    assert "letsencrypt.org" in lines[1]
    assert "53 days" in lines[1]
    assert "failing" in lines[2]
    assert " +29" in lines[2]


def test_colour_goes_by_the_share_of_life_that_is_left() -> None:
    short = replace(CERT, not_before=NOW, not_after=NOW + timedelta(days=6))
    assert listed.urgency(short, NOW) is None
    assert listed.urgency(short, NOW + timedelta(days=5, hours=2)) == "red"
    year = replace(CERT, not_before=NOW - timedelta(days=240), not_after=NOW + timedelta(days=60))
    assert listed.urgency(year, NOW) == "yellow"
    assert listed.urgency(replace(CERT, not_after=NOW - timedelta(days=1)), NOW) == "red"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], True),
        (["b.example"], True),
        (["B.example."], True),
        (["example"], True),
        (["*.b.*"], True),
        (["c.example"], False),
    ],
)
def test_names_are_matched_whole_from_the_end_or_as_a_pattern(words: list[str], found: bool) -> None:
    assert listed.matches(CERT, words) is found


def test_the_state_says_what_keeps_it_from_being_as_wanted() -> None:
    ok = replace(CERT, published_at=NOW - timedelta(days=60), check_at=NOW + timedelta(days=20))
    assert listed.state(ok, NOW) == "ok"
    assert listed.state(replace(ok, check_at=NOW), NOW) == "due"
    assert listed.state(replace(ok, check_at=NOW, published_at=NOW), NOW) == "ok"
    assert listed.state(replace(ok, check_at=None, published_at=NOW), NOW) == "due"
    assert listed.state(replace(ok, enabled=False, last_error="x"), NOW) == "disabled"
    assert listed.state(replace(ok, failures=1, last_error="no\x1b"), NOW) == "failing: no\\x1b"
    assert listed.state(replace(ok, step="ordered"), NOW) == "in progress: ordered"
    assert listed.state(replace(CERT, adopted=False, last_error="left out: x"), NOW) == "failing: left out: x"
    new = replace(CERT, adopted=False)
    assert listed.state(new, NOW) == "new: the next pass looks at it"
    assert listed.is_due(new, NOW)
    assert not listed.is_due(replace(new, last_error="left out: x"), NOW)


def test_wide_has_every_column() -> None:
    head, row = listed.wide([CERT], NOW)
    assert head.split()[-4:] == ["CA", "LEFT", "NEXT", "STATE"]
    assert "53 days" in row


@pytest.mark.parametrize("columns", [40, 50, 60, 100, 300])
@pytest.mark.parametrize("count", [1, 10_000])
def test_a_narrow_terminal_does_without_some_columns(columns: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    certs = [
        replace(CERT, id=CertId(i), directory="https://ca.internal.example:14000/dir", last_error="no " * 90)
        for i in range(100_000, 100_000 + 3)
    ] * (count // 3 or 1)
    lines = listed.for_a_person(certs, NOW)
    assert max(map(len, lines)) <= columns
    assert {"ID", "NAMES", "STATE"} <= set(lines[0].split())
    assert ("CA" in lines[0].split()) is (columns >= 100)


def test_a_published_certificate_that_is_revoked_is_marked() -> None:
    calm = replace(CERT, published_at=NOW, check_at=NOW + timedelta(days=1))
    assert listed.state(replace(calm, revoked=True), NOW) == f"revoked; {listed.state(calm, NOW)}"
    assert of_certificate(replace(calm, revoked=True))["revoked"] is True


def test_a_story_begins_with_all_that_is_wanted() -> None:
    rare = replace(
        CERT, key_type="rsa4096", profile="shortlived", preferred_chain="X2", renew_before=timedelta(days=20)
    )
    text = "\n".join(listed.block(rare, NOW))
    for part in ("valkey key tls:b", "/etc/b.crt", "/etc/b.key  (rsa4096)", "shortlived", "X2", "20d left"):
        assert part in text
    assert "profile" not in "\n".join(listed.block(CERT, NOW))


def test_one_very_long_cell_makes_no_other_line_longer() -> None:
    huge = replace(CERT, domains="a.example," * 10_000, last_error="x" * 100_000)
    head, first, *others = listed.plain([huge, *[CERT] * 3])
    assert len(first) > 100_000
    assert max(map(len, (head, *others))) < 2_000
    assert head.index("PROVIDER") == others[0].index("desec")


def test_what_the_ca_suggests_is_shown_with_its_reason_and_given_to_programs() -> None:
    start = NOW + timedelta(days=20)
    cert = replace(
        CERT,
        window_start=start,
        window_end=start + timedelta(days=2),
        suggested_at=start + timedelta(days=1),
        window_checked_at=NOW,
        explanation_url="https://ca.example/incident\x1b[31m",
    )
    shown = "\n".join(listed.block(cert, NOW))
    assert "to renew it from 2026-03-21T00:00:00Z to 2026-03-23T00:00:00Z: 2026-03-22T00:00:00Z it is" in shown
    assert "https://ca.example/incident" in shown
    assert "\x1b" not in shown
    told = of_certificate(cert)
    assert told["suggested_window"] == [start, start + timedelta(days=2)]
    assert told["suggested_at"] == start + timedelta(days=1)
    silent = of_certificate(CERT)
    assert (silent["suggested_window"], silent["explanation_url"]) == (None, None)
    assert "CA asks" not in "\n".join(listed.block(CERT, NOW))


def test_an_imported_certificate_is_never_due_and_says_what_it_waits_for() -> None:
    brought = replace(CERT, issuer="imported", directory="imported", not_before=NOW - timedelta(days=300))
    assert not listed.is_due(brought, NOW)
    assert listed.state(brought, NOW) == "waiting for its import"
    published = replace(brought, published_at=NOW)
    told = [listed.state(published, NOW + timedelta(days=days)) for days in (22, 24, 53)]
    assert told == ["ok: imported", "expires: import the next one", "expired"]
    sooner = replace(published, renew_before=timedelta(days=32))
    assert listed.state(sooner, NOW + timedelta(days=22)) == "expires: import the next one"
    assert any("2026-03-24" in line for line in listed.block(published, NOW) if "warns" in line)
