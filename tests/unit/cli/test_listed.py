"""What a certificate looks like to a program, in a pipe and at a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from knit.cli import listed
from knit.cli.output import as_json, clean, instant, table
from knit.core.model import CertId
from knit.store.certs import Listed

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
    as_json([listed.record(replace(CERT, renew_before=timedelta(days=30)))])
    (found,) = json.loads(capsys.readouterr().out)
    assert found["domains"] == ["b.example", "*.b.example"]
    assert found["not_after"] == "2026-04-23T00:00:00Z"
    assert found["renew_before"] == "720h"
    assert found["last_renewed"] is None


@pytest.mark.parametrize(("seconds", "text"), [(7200, "2h"), (5400, "90m"), (61, "61s")])
def test_a_duration_is_written_as_go_reads_it(seconds: int, text: str) -> None:
    assert listed.duration(timedelta(seconds=seconds)) == text


def test_a_narrow_terminal_gets_a_block_for_each_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    certs = [CERT, replace(CERT, enabled=False, not_after=NOW - timedelta(days=1), last_error="no", step="ordered")]
    lines = listed.for_a_person(certs, NOW)
    assert lines[0] == "7  b.example, *.b.example"
    assert "   expires    2026-04-23T00:00:00Z  (in 53 days)" in lines
    assert "7  b.example, *.b.example  (disabled)" in lines
    assert "   expires    2026-02-28T00:00:00Z  (expired)" in lines
    assert {"   error      no", "   working on ordered"} <= set(lines)


def test_a_wide_terminal_gets_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert listed.for_a_person([CERT], NOW) == listed.plain([CERT])
