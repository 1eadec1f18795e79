"""Whatever a CA answers, the failure is recorded with a next try, and nothing in it acts on who reads it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from knit.core.model.attempt import Failed
from knit.log import Logfmt
from knit.settings.environment import Environment
from rig.installation import Installation
from rig.scripted_ca.client import ScriptedCA
from tests.acceptance.scene import Servers
from tests.integration.test_flows import Stage
from tests.integration.test_kept_orders import ca, stage, tried

__all__ = ["ca", "stage"]

KINDS = ["directory", "newNonce", "newAccount", "newOrder", "authz", "challenge", "finalize", "order", "certificate"]
BAD = "\\u202eevil \\u001b[31m\\n2026-01-01 time=x level=INFO msg=forged \\ud800 \\u0000 \\u009b2J"
ANSWERS = {
    "odd words": f'{{"status": "{BAD}", "detail": "{BAD}", "meta": 5, "type": "urn:ietf:params:acme:error:{BAD}"}}',
    "long words": json.dumps({"status": "s" * 50_000, "detail": "d" * 50_000}),
    "numbers": '{"status": 7, "meta": 5, "identifiers": 3, "authorizations": {}, "challenges": null, "error": [1e999]}',
    "no object": "[[], null]",
    "no JSON": "<html>\x1b[31m</html>",
    "depth": "[" * 50_000,
}


CASES = [
    (kind, name, 200 if number % 2 else 400) for number, kind in enumerate(KINDS) for name in ("odd words", "numbers")
]
CASES += [
    (kind, name, 200) for kind in ("newOrder", "authz") for name in ("long words", "no object", "no JSON", "depth")
]


@pytest.mark.parametrize(("kind", "name", "status"), CASES)
def test_any_answer_ends_as_a_recorded_failure_with_a_next_try(
    stage: Stage, ca: ScriptedCA, kind: str, name: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    (cert_id,) = stage.wanted(1)
    ca.behave(processing_polls=1, validation_delay_ms=30)
    headers = {"Retry-After": "+999999999999"}
    fault: dict[str, Any] = {
        "act": "answer",
        "status": status,
        "body": ANSWERS[name],
        "headers": headers,
        "when": "after",
    }
    ca.fault(kind, times=0, **fault)
    failed = tried(stage, cert_id)
    if not isinstance(failed, Failed):
        # What is not needed is not read: the issuer could do without.
        return
    assert failed.retry_at is not None
    ((error, failures),) = stage.sql(
        "select last_error, failures from knit_certs join knit_schedule on cert_id = id where id = %s", cert_id
    )
    assert error.isprintable()
    assert len(error) <= 2000
    assert failures == 1
    for record in caplog.records:
        line = Logfmt().format(record)
        assert line.isprintable()
        assert len(line) < 20_000


def test_records_for_programs_hold_nothing_that_acts_on_a_terminal(stage: Stage) -> None:
    (cert_id,) = stage.wanted(1)
    stage.sql("update knit_certs set last_error = %s where id = %s", "\u202eevil \x1b[31m \x9b2J\nforged", cert_id)
    with Installation(settings=stage.servers.settings()) as knit:
        shown = knit.knit("list", "--json")
    assert all(letter.isprintable() or letter == "\n" for letter in shown.out)
    (cert,) = shown.json
    assert cert["last_error"] == "evil [31m 2J forged"


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_CN"])
def test_a_failure_is_recorded_in_a_database_that_cannot_keep_its_letters(
    stage: Stage, ca: ScriptedCA, encoding: str
) -> None:
    parts = urlsplit(stage.servers.database)
    name = f"other_{encoding.lower()}"
    with closing(psycopg.connect(stage.servers.database, autocommit=True)) as connection:
        connection.execute(f"drop database if exists {name}")
        connection.execute(
            f"create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
        )
    database = urlunsplit(parts._replace(path=f"/{name}"))
    servers = Servers(
        ca=ca, dns=stage.servers.dns, database=database, valkey=stage.servers.valkey, queue=stage.servers.queue
    )
    other = replace(stage, servers=servers, environment=Environment({**stage.environment, "KNIT_DB_URL": database}))
    (cert_id,) = other.wanted(1)
    ca.fault("newOrder", times=0, status=400, type="rejectedIdentifier", detail="“no” \u2013 it\u2019s over …")
    failed = tried(other, cert_id)
    assert isinstance(failed, Failed)
    ((error, wait),) = other.sql("select last_error, retry_at from knit_certs join knit_schedule on cert_id = id")
    assert "it" in str(error)
    assert wait is not None
