"""Revocations in PostgreSQL, many of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from knit.store.queries import queries
from knit.store.revocations.revocations import ALL

MANY = 400


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_one_is_looked_at_without_a_look_at_all_the_others(migrated_url: str) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(
            "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
            "select n, 'exec', n, '/' || n || '.crt', '/' || n || '.key' from generate_series(1, %s) i, "
            "lateral (select 'n' || i || '.knit.example' as n) names",
            [MANY],
        )
        connection.execute(
            "insert into knit_revocations "
            "(cert_id, names_key, serial, issuer, directory, valkey_key, not_after, reason, replace, copy) "
            "select id, domains, id::text, 'acme', 'https://ca.example', valkey_key, now() + interval '1 day', "
            "'superseded', id % 2 = 0, 'kept' from knit_certs"
        )
        connection.execute("analyze")
        ((last,),) = connection.execute("select max(id) from knit_revocations where replace").fetchall()
        explain = b"explain (analyze, format json) " + queries("revocations/revocations")["read"].encode()
        (([found],),) = connection.execute(explain, {**ALL, "id": last}).fetchall()
    looked = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(found["Plan"])
    )
    assert 0 < looked < MANY / 4
