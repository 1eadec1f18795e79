"""What `knit providers` prints."""

from __future__ import annotations

import json
from collections import Counter

import click
import pytest
from click.testing import CliRunner

from knit.app import dns_providers
from knit.cli import output, providers
from knit.cli.app import app

runner = CliRunner()


def said(*words: str, **env: str) -> str:
    result = runner.invoke(app, ["providers", *words], env=env)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_names_what_serves_each_code_and_what_is_set_for_it() -> None:
    rows = {line.split()[0]: line for line in said(ABION_API_KEY="canary").splitlines()}
    assert "lego" in rows["abion"]
    assert rows["abion"].endswith("ABION_API_KEY")
    assert " knit " in rows["desec"]
    assert "not served" in rows["manual"]
    assert "canary" not in "".join(rows.values())


def test_a_code_that_is_not_served_says_why() -> None:
    assert "not served: " in said("dnspod")
    assert "tencentcloud" in said("dnspod")


def test_an_alias_shows_the_code_it_stands_for() -> None:
    assert said("azure").startswith("azuredns ")


def test_an_account_shows_its_own_variables_before_shared_ones() -> None:
    text = said("abion@west", ABION_API_KEY="canary", ABION_API_KEY__WEST="canary")
    assert "ABION_API_KEY__WEST, ABION_API_KEY " in text
    assert "canary" not in text


def test_a_record_holds_required_sets_variables_and_names_of_what_is_set() -> None:
    record = json.loads(said("alidns", "--json", ALICLOUD_RAM_ROLE="canary"))
    assert (record["code"], record["served_by"], record["reason"]) == ("alidns", "lego", None)
    assert record["required"] == [["ALICLOUD_RAM_ROLE"], ["ALICLOUD_ACCESS_KEY", "ALICLOUD_SECRET_KEY"]]
    assert record["set"] == ["ALICLOUD_RAM_ROLE"]
    ttl = next(variable for variable in record["variables"] if variable["name"] == "ALICLOUD_TTL")
    assert ttl == {"name": "ALICLOUD_TTL", "also_read": [], "default": "600", "secret": False, "set": []}
    assert "canary" not in json.dumps(record)


def test_all_records_are_one_list() -> None:
    records = json.loads(said("--json"))
    assert len(records) > 218
    assert {record["served_by"] for record in records} == {"knit", "lego", None}


def test_an_unknown_code_is_misuse() -> None:
    result = runner.invoke(app, ["providers", "qqqqqqqqqqqq"])
    assert result.exception is not None
    assert "unknown DNS provider" in str(result.exception)


WIDTHS = pytest.mark.parametrize("columns", [40, 60, 80, 120, 250])


@pytest.fixture
def terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(columns))
    for part in (output, providers):
        monkeypatch.setattr(part, "for_people", lambda: True)
    return columns


def words(text: str) -> Counter[str]:
    """But for the sign that there is nothing."""
    return Counter(word for word in text.split() if word != "-")


def fits(lines: list[str], columns: int) -> bool:
    """Whether all do, but those with a word that no line could hold."""
    return all(len(line) <= columns or len(max(line.split(), key=len)) > columns - 4 for line in lines)


@WIDTHS
def test_at_a_terminal_each_code_begins_a_line_and_everything_set_can_be_read(terminal: int) -> None:
    given = {"ALICLOUD_ACCESS_KEY": "k", "ALICLOUD_SECRET_KEY": "s"}
    lines = click.unstyle(said(**given)).splitlines()
    assert fits(lines, terminal)
    assert {line.split()[0] for line in lines if line[0] != " "} >= {one.code for one in dns_providers.services()}
    assert {"ALICLOUD_ACCESS_KEY,", "ALICLOUD_SECRET_KEY"} <= words("\n".join(lines)).keys()


@WIDTHS
@pytest.mark.parametrize("code", ["cloudflare", "azuredns", "dnspod", "exec", "route53", "edgedns"])
def test_at_a_terminal_no_word_about_a_provider_is_lost_or_cut(
    code: str, terminal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = click.unstyle(said(code))
    assert fits(shown.splitlines(), terminal)
    monkeypatch.setattr(providers, "for_people", lambda: False)
    assert words(shown) == words(said(code))


@pytest.mark.parametrize("code", ["desec", "abion"])
def test_every_variable_of_a_provider_is_a_line(code: str) -> None:
    text = said(code)
    assert f"{code.upper()}_TTL" in text
    assert "required: " in text
