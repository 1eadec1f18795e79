"""What `knit config check` finds out."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from knit.cli.config import config_command
from knit.settings.checked import checked
from knit.settings.environment import Environment

GOOD = {
    "KNIT_DB_URL": "postgres://u:canary@db/knit",
    "KNIT_VALKEY_URL": "redis://:canary@valkey",
    "KNIT_QUEUE_URL": "redis://:canary@queue",
    "KNIT_LOG_LEVEL": "debug",
    "HOME": "/home/n",
}
FILE = '[issuer.letsencrypt]\nkind = "acme"\nemail = "a@b.example"\n'


def test_every_process_would_start_with_what_is_right_and_no_secret_is_shown() -> None:
    found = checked(Environment({**GOOD, "KNIT_ISSUERS": FILE}))
    assert not found.wrong
    assert set(found.processes.values()) == {None}
    assert {one.name: one.value for one in found.variables} == {
        "KNIT_DB_URL": None,
        "KNIT_VALKEY_URL": None,
        "KNIT_QUEUE_URL": None,
        "KNIT_ISSUERS": "KNIT_ISSUERS",
        "KNIT_LOG_LEVEL": "debug",
    }
    assert [one.name for one in found.issuers] == ["letsencrypt"]
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("variables", "said", "stopped"),
    [
        ({"KNIT_LOG_LEVEL": "loud"}, "KNIT_LOG_LEVEL='loud': must be", {"knit watch", "worker", "scheduler"}),
        ({"KNIT_WATCH_INTERVAL": "x"}, "KNIT_WATCH_INTERVAL='x': must be", {"knit watch"}),
        ({"KNIT_LOGLEVEL": "x"}, "KNIT_LOGLEVEL: no such setting", {"knit watch", "worker", "scheduler"}),
        ({"KNIT_ISSUERS": f"{FILE}x = 1"}, "KNIT_ISSUERS, line 4", {"worker"}),
        (
            {"KNIT_ISSUERS": "/etc/knit/issuers.toml"},
            "the path of a file that does is for KNIT_ISSUERS_FILE",
            {"worker"},
        ),
        ({"KNIT_ISSUERS": FILE, "KNIT_ACME_EMAIL": "x"}, "KNIT_ACME_EMAIL: cannot be set together", {"worker"}),
        ({"KNIT_ISSUERS": f"{FILE}eab_kid = 'x'\neab_hmac_file = '/no'"}, "cannot be read", {"worker"}),
        ({"KNIT_ACME_EAB_KID": "x"}, "set both or neither", {"worker"}),
        ({"KNIT_QUEUE_URL": GOOD["KNIT_VALKEY_URL"]}, "KNIT_QUEUE_URL: must not be", {"scheduler", "worker"}),
        ({"LEGO_DISABLE_CNAME_SUPPORT": "maybe"}, "LEGO_DISABLE_CNAME_SUPPORT='maybe': must be", {"worker"}),
    ],
)
def test_what_is_wrong_is_told_with_who_would_not_start(
    variables: dict[str, str], said: str, stopped: set[str]
) -> None:
    found = checked(Environment({**GOOD, **variables}))
    assert found.wrong
    assert any(said in error for error in [found.error, *(one.error for one in found.variables)] if error)
    named = {"knit watch", "worker", "scheduler"}
    assert {name for name in named if found.processes[name] is not None} == stopped


def test_what_is_not_set_is_another_machines_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KNIT_VALKEY_URL", GOOD["KNIT_VALKEY_URL"])
    monkeypatch.setenv("HOME", "/home/n")
    plain = CliRunner().invoke(config_command, ["check"], standalone_mode=False)
    assert plain.return_value == 0, plain.output
    assert "would start" in plain.output
    assert "KNIT_DB_URL is not set" in plain.output
    assert "canary" not in plain.output
    record = json.loads(CliRunner().invoke(config_command, ["check", "--json"], standalone_mode=False).output)
    assert {one["name"]: one["error"] is None for one in record["processes"]}["knit watch"]
    assert record["issuers"][0]["directory"] == "https://acme-v02.api.letsencrypt.org/directory"
    assert record["issuers"][0]["default"] == 1
    monkeypatch.setenv("KNIT_LOG_LEVEL", "loud")
    assert CliRunner().invoke(config_command, ["check"], standalone_mode=False).return_value == 2
