"""Command lines that the Go knit took go on working."""

from __future__ import annotations

import click
import pytest

from knit.cli.goflags import Command, as_click_takes


def rewritten(*args: str) -> list[str]:
    return as_click_takes(args, switches={"once", "json"}, values={"domains", "id"})


@pytest.mark.parametrize("given", [["--once"], ["-once"], ["--once=true"], ["-once=1"], ["-once=T"]])
def test_a_switch_takes_one_or_two_dashes_and_gos_words_for_true(given: list[str]) -> None:
    assert rewritten(*given) == ["--once"]


@pytest.mark.parametrize("given", [["--once=false"], ["-once=0"], ["--once", "--once=F"]])
def test_a_switch_can_be_said_off_and_the_last_word_counts(given: list[str]) -> None:
    assert rewritten(*given) == []


def test_a_switch_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="must be true or false"):
        rewritten("--once=perhaps")


@pytest.mark.parametrize("given", [["--domains", "a,b"], ["-domains", "a,b"], ["--domains=a,b"], ["-domains=a,b"]])
def test_a_value_follows_its_flag_or_an_equals_sign(given: list[str]) -> None:
    assert rewritten(*given) == ["--domains=a,b"]


def test_a_value_may_begin_with_a_dash_or_hold_an_equals_sign() -> None:
    assert rewritten("-domains", "-x", "--id", "a=b") == ["--domains=-x", "--id=a=b"]


def test_after_two_dashes_nothing_is_a_flag() -> None:
    assert rewritten("--", "-once") == ["--", "-once"]


def test_what_is_not_known_is_left_for_the_parser_to_refuse() -> None:
    assert rewritten("-frce", "-h", "word", "--domains") == ["--frce", "-h", "word", "--domains"]


@click.command(cls=Command)
@click.option("--domains")
def strict(domains: str) -> str:
    return domains


@click.command(cls=Command, lenient=True)
@click.option("--once", is_flag=True)
def lenient(once: bool) -> bool:
    return once


def test_a_stray_word_is_refused_where_rows_change() -> None:
    with pytest.raises(click.UsageError, match=r"unexpected extra argument \(b\)"):
        strict.main(["--domains", "a,", "b"], standalone_mode=False)


def test_a_stray_word_is_ignored_with_a_warning_where_the_go_knit_ignored_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lenient.main(["word", "-once"], prog_name="knit x", standalone_mode=False) is True
    assert capsys.readouterr().err == "knit: knit x: ignored: 'word'\n"
