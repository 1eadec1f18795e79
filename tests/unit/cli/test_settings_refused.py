"""A wrong setting ends a command before it has opened a single connection: here it could not open one."""

from __future__ import annotations

import os

import pytest

from knit.cli.app import app
from knit.cli.edge import run

SECRET = "s3cr3t-canary"
DB = {"KNIT_DB_URL": f"postgres://knit:{SECRET}@db/knit"}
BOTH = {**DB, "KNIT_VALKEY_URL": f"redis://:{SECRET}@valkey"}

WRONG = [
    ("list", {"KNIT_DB_URL": ""}, "KNIT_DB_URL is not set; it must be"),
    ("list", {"KNIT_DB_URL": f"postgres://u:{SECRET}@h:port/d"}, "KNIT_DB_URL=(hidden): must be a URL"),
    ("list", {"KNIT_DB_URL": f"postgres://u:{SECRET}@h/d?ssl mode=x"}, "KNIT_DB_URL=(hidden): must be a URL"),
    ("list", {**DB, "KNIT_LOG_LEVEL": "loud"}, "KNIT_LOG_LEVEL='loud': must be debug or info"),
    ("list", {**DB, "KNIT_QUEUE_URL": f"kafka://:{SECRET}@q"}, "KNIT_QUEUE_URL=(hidden): must be a URL"),
    ("list", {**BOTH, "KNIT_QUEUE_URL": BOTH["KNIT_VALKEY_URL"]}, "KNIT_QUEUE_URL: must not be the certificate Valkey"),
    ("remove --id 1", {}, "KNIT_DB_URL is not set"),
    ("enable --id 1", {}, "KNIT_DB_URL is not set"),
    ("disable --domains a.example", {}, "KNIT_DB_URL is not set"),
    ("renew --id 1", {}, "KNIT_DB_URL is not set"),
    ("renew", DB, "KNIT_VALKEY_URL is not set; it must be"),
    ("renew --once", DB, "KNIT_VALKEY_URL is not set; it must be"),
    (
        "renew --once",
        {**BOTH, "KNIT_RENEW_THRESHOLD_DAYS": "x"},
        "KNIT_RENEW_THRESHOLD_DAYS='x': must be a whole number",
    ),
    ("renew --once", {**BOTH, "KNIT_RENEW_CONCURRENCY": "1e3"}, "KNIT_RENEW_CONCURRENCY='1e3': must be a whole number"),
    ("renew --once", {**BOTH, "KNIT_ACME_DIRECTORY": "http://ca"}, "KNIT_ACME_DIRECTORY='http://ca': must be a URL"),
    ("renew --once", {**BOTH, "KNIT_ACME_CA_FILE": "/no"}, "KNIT_ACME_CA_FILE='/no': must be a readable file"),
    ("renew --once", {**BOTH, "KNIT_ACME_EAB_HMAC": f"{SECRET}A"}, "set both or neither"),
    ("renew --once", {**BOTH, "KNIT_DNS_RESOLVERS": "a b"}, "KNIT_DNS_RESOLVERS='a b': must be"),
    ("renew --once", {**BOTH, "KNIT_DNS_TIMEOUT": "1 s"}, "KNIT_DNS_TIMEOUT='1 s': must be"),
    ("renew --once", {**BOTH, "KNIT_DNS_DISABLE_RECURSIVE_CHECK": "no"}, "KNIT_DNS_DISABLE_RECURSIVE_CHECK='no': must"),
    ("renew --once", {**BOTH, "KNIT_DNS_PROPAGATION_WAIT": "x"}, "KNIT_DNS_PROPAGATION_WAIT='x': must be"),
]


@pytest.mark.parametrize(("command", "settings", "said"), WRONG)
def test_a_wrong_setting_is_one_line_and_exit_2(
    command: str,
    settings: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith("KNIT_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert run(app, command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("knit: ")
    assert said in err
    assert err.count("\n") == 1
    assert SECRET not in err
