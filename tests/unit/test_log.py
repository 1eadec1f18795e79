"""Log lines: logfmt, on one line, without keys and credentials."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.log import Logfmt, redacted, setup

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEcanary\n-----END EC PRIVATE KEY-----"


def line(message: str = "certificate renewed", level: int = logging.INFO, **extra: object) -> str:
    record = logging.makeLogRecord(
        {"msg": message, "levelno": level, "levelname": logging.getLevelName(level), **extra}
    )
    return Logfmt().format(record)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.captureWarnings(capture=False)


def test_a_line_has_time_level_message_and_the_fields_in_order() -> None:
    found = line(cert=7, names="a.example,b.example")
    time, rest = found.split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == 'level=INFO msg="certificate renewed" cert=7 names=a.example,b.example'


def test_a_warning_is_called_warn_as_the_go_knit_did() -> None:
    assert "level=WARN " in line(level=logging.WARNING)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_value_stays_on_its_line_in_one_word(value: str) -> None:
    found = line(error=value)
    assert all(c.isprintable() for c in found)
    assert len(shlex.split(found)) == 4


def test_a_private_key_is_cut_out_wherever_it_stands() -> None:
    found = line(f"odd {KEY} thing", error=ValueError(KEY))
    assert "canary" not in found
    assert found.count("(private key)") == 2


def test_a_key_without_its_end_is_cut_out_too() -> None:
    assert "canary" not in redacted("-----BEGIN PRIVATE KEY-----\ncanary")


def test_credentials_in_urls_are_cut_out() -> None:
    shown = redacted("cannot reach postgres://knit:canary@db:5432/knit or redis://:canary@v")
    assert "canary" not in shown
    assert "db:5432/knit" in shown


def test_a_traceback_is_one_field_without_keys() -> None:
    with pytest.raises(ValueError, match="canary") as raised:
        int(KEY)
    found = line(exc_info=(raised.type, raised.value, raised.tb))
    assert "trace=" in found
    assert "Traceback" in found
    assert "canary" not in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", "debug info warn error"), ("info", "info warn error"), ("warn", "warn error"), ("error", "error")],
)
def test_the_level_says_what_is_logged(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], level: str, shown: str
) -> None:
    setup(level)
    for number, word in ((10, "debug"), (20, "info"), (30, "warn"), (40, "error")):
        logging.getLogger("knit.x").log(number, word)
    assert re.findall(r"msg=(\w+)", capsys.readouterr().err) == shown.split()
    assert root.handlers


def test_libraries_that_print_whole_requests_stay_quiet_at_debug(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    setup("debug")
    for name in ("acme.client", "dramatiq.worker", "urllib3.connectionpool"):
        logging.getLogger(name).debug("request body")
    assert capsys.readouterr().err == ""
    assert root.level == logging.DEBUG


def heard(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.findall(r"msg=(?:\"([^\"]*)\")?", capsys.readouterr().err)


@pytest.mark.parametrize("name", ["dramatiq.worker", "apscheduler.executors", "psycopg.pool", "pika", "urllib3.pool"])
def test_libraries_speak_only_through_knit(root: logging.Logger, capsys: pytest.CaptureFixture[str], name: str) -> None:
    setup("info")
    for level in (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logging.getLogger(name).log(level, "Job %s executed successfully", "x" * 9)
    assert heard(capsys) == []
    assert root.handlers


@pytest.mark.parametrize("name", ["__main__", "scheduler.main", "workers.later", "knit.flows.tick"])
def test_what_a_process_of_ours_says_is_printed_each_time(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    setup("info")
    for _ in range(2):
        logging.getLogger(name).warning("the clock was set back")
    assert capsys.readouterr().err.count("the clock was set back") == 2


def test_an_error_of_an_unknown_library_is_heard_once(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    setup("info")
    for number in range(5):
        logging.getLogger("strange.thing").error("broken %s", number)
        logging.getLogger("strange.thing").warning("odd %s", number)
    assert heard(capsys) == ["broken 0"]
    assert root.handlers


def test_at_debug_level_libraries_are_heard(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    setup("debug")
    logging.getLogger("dramatiq.worker").info("ready for action")
    assert heard(capsys) == ["ready for action"]
    assert root.handlers


def test_a_library_that_logs_what_it_then_raises_is_not_heard(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    setup("debug")
    logging.getLogger("pika.adapters").error("refused")
    assert capsys.readouterr().err == ""
    assert root.handlers
