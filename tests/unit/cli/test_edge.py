"""Every way a command can end has its exit code and at most one line."""

from __future__ import annotations

import os

import click
import pytest

from knit.cli.edge import run
from knit.errors import Misconfigured, NoSuchCertificate, RateLimited, Unreachable

CANARY = "s3cr3t-canary"


def ending_with(error: BaseException) -> click.Command:
    def raising() -> None:
        raise error

    return click.Command("x", callback=raising)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Misconfigured("bad"), 2),
        (NoSuchCertificate("bad"), 1),
        (Unreachable("bad"), 1),
        (RateLimited("bad"), 1),
    ],
)
def test_an_error_raised_on_purpose_is_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ending_with(error), []) == code
    assert capsys.readouterr() == ("", "knit: bad\n")


def test_wrong_usage_shows_the_usage_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(click.Command("x"), ["--nonsense"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "knit: No such option '--nonsense'\nUsage: knit [OPTIONS]\n"


def test_a_line_holds_no_credentials_line_breaks_or_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    error = Unreachable(f"at postgres://u:{CANARY}@h:\n\tno \x1b[2J answer")
    assert run(ending_with(error), []) == 1
    assert capsys.readouterr().err == "knit: at postgres://***@h: no \\x1b[2J answer\n"


def test_ctrl_c_is_130_and_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ending_with(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err.strip() == ""


def test_anything_else_is_named_as_a_bug_without_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KNIT_LOG_LEVEL", raising=False)
    assert run(ending_with(ValueError(CANARY)), []) == 1
    line = capsys.readouterr().err
    assert line.startswith("knit: this is a bug in knit: ValueError at test_edge.py:")
    assert "KNIT_LOG_LEVEL=debug" in line
    assert CANARY not in line
    assert line.count("\n") == 1


def test_the_traceback_of_a_bug_shows_at_level_debug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNIT_LOG_LEVEL", "debug")
    assert run(ending_with(ValueError(f"redis://:{CANARY}@h")), []) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    ("module", "extra"), [("psycopg", "central"), ("dramatiq.brokers", "central"), ("cryptography", "node")]
)
def test_a_missing_extra_is_named(module: str, extra: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ending_with(ModuleNotFoundError("No module", name=module)), []) == 2
    assert f"install knit-certs[{extra}]" in capsys.readouterr().err


def test_a_command_gives_its_own_exit_code() -> None:
    assert run(click.Command("x", callback=lambda: 1), []) == 1
    assert run(click.Command("x", callback=lambda: None), []) == 0


def test_a_reader_that_went_away_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    kept = os.dup(1)
    try:
        assert run(ending_with(BrokenPipeError()), []) == 1
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert capfd.readouterr().err == ""
