"""The Go knit's database, ACME account and published values, taken over as they are; its values read beside ours."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from typing import Any

from rig.pebble import Pebble
from tests.acceptance.scene import ORIGINAL, Scene

ACCOUNTS = re.compile(r"There are now (\d+) accounts in memory")
NAMES = ("www.knit.example", "api.knit.example")
FORGET = """
do $$
declare
    found record;
begin
    for found in select tablename from pg_tables where schemaname = 'public' and tablename like 'knit\\_%' loop
        execute 'drop table ' || quote_ident(found.tablename) || ' cascade';
    end loop;
    for found in
        select oid::regprocedure as name from pg_proc
        where pronamespace = 'public'::regnamespace and proname like 'knit\\_%'
    loop
        execute 'drop function if exists ' || found.name || ' cascade';
    end loop;
end $$
"""
LEGO_ROW = """
insert into knit_certs (id, domains, provider, valkey_key, cert_path, key_path, not_after, last_renewed)
values (%s, %s, 'dnsupdate', %s, %s, %s, %s, now())
"""


def accounts(pebble: Pebble) -> int:
    """How many accounts were ever made at this CA."""
    return max(map(int, ACCOUNTS.findall(pebble.process.text())), default=0)


def go_json(value: dict[str, Any]) -> str:
    """The six members as the Go knit writes them; none of the test's values holds what Go would escape."""
    return json.dumps({name: text for name, text in value.items() if name != "knit"}, separators=(",", ":"))


def as_the_go_knit_left_it(scene: Scene) -> dict[str, bytes | None]:
    """Issue, then turn Postgres and Valkey into what the Go knit would have made of it; gives its values."""
    scene.insert(NAMES)
    assert scene.once().code == 0
    account = scene.sql("select email, private_key, registration from knit_accounts")[0]
    rows = scene.sql("select id, domains, valkey_key, cert_path, key_path, not_after from knit_certs order by id")
    scene.sql(FORGET)
    scene.sql(ORIGINAL)
    scene.sql("insert into knit_acme_account values (%s, %s, %s)", *account)
    for row in rows:
        scene.sql(LEGO_ROW, *row)
    values = {key: go_json(scene.value(key)) for key in scene.index()}
    with closing(scene.servers.valkey.client()) as client:
        client.flushall()
        for key, text in values.items():
            client.set(key, text)
            client.sadd("knit:index", key)
    return {key: text.encode() for key, text in values.items()}


def test_values_that_the_go_knit_published_are_kept_to_the_byte_and_not_ordered_again(scene: Scene) -> None:
    values = as_the_go_knit_left_it(scene)
    orders = scene.pebble.orders()

    done = scene.once()
    assert done.code == 0, done.err
    assert scene.values() == values
    assert scene.pebble.orders() == orders
    listed = {row["valkey_key"]: row["not_after"] for row in scene.knit.list()}
    assert listed == {key: json.loads(raw or b"")["not_after"] for key, raw in values.items()}


def test_the_go_knit_s_account_orders_what_is_due_and_no_other_is_registered(scene: Scene) -> None:
    values = as_the_go_knit_left_it(scene)
    lost, kept = sorted(values)
    with closing(scene.servers.valkey.client()) as client:
        client.delete(lost)

    done = scene.once()
    assert done.code == 0, done.err
    assert len(scene.pebble.finalized()) == len(NAMES) + 1
    assert accounts(scene.pebble) == 1
    assert scene.raw(kept) == values[kept]
    assert scene.value(lost)["knit"]["generation"] > 0
    original = scene.sql("select private_key from knit_acme_account")
    assert scene.sql("select private_key from knit_accounts") == original


def test_an_older_value_that_came_back_is_a_lost_one_named_and_issued_anew(scene: Scene) -> None:
    name = NAMES[0]
    scene.insert([name])
    assert scene.once().code == 0
    old = scene.raw(f"certs:{name}")
    assert scene.knit.knit("renew", "--domains", name, "--force", "--again", env={"KNIT_QUEUE_URL": ""}).code == 0
    newer = scene.value(f"certs:{name}")
    assert old is not None
    with closing(scene.servers.valkey.client()) as client:
        client.set(f"certs:{name}", old)
    ordered = len(scene.pebble.finalized())

    done = scene.once()
    assert done.code == 0, done.err
    assert len(scene.pebble.finalized()) == ordered + 1
    assert scene.value(f"certs:{name}")["knit"]["generation"] > newer["knit"]["generation"]
    assert f"names={name}" in done.err
    assert "an older value came back" in done.err
    assert scene.once().code == 0
    assert len(scene.pebble.finalized()) == ordered + 1


def test_one_look_of_a_node_sees_what_a_publisher_without_a_change_feed_has_changed(scene: Scene) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    assert scene.watch_once().code == 0
    older = scene.value(f"certs:{NAMES[0]}")
    chain = scene.tls / f"{NAMES[0]}.crt"
    assert chain.read_text() == older["fullchain"]

    time.sleep(1)  # Of two that begin in the same second, the one that ends sooner is the older one.
    assert scene.knit.knit("renew", "--domains", NAMES[0], "--force", "--again", env={"KNIT_QUEUE_URL": ""}).code == 0
    newer = scene.value(f"certs:{NAMES[0]}")
    with closing(scene.servers.valkey.client()) as client:
        client.delete("knit:index:revision", "knit:index:revisions")
        client.set(f"certs:{NAMES[0]}", go_json(newer))
    done = scene.watch_once()
    assert done.code == 0, done.err
    assert chain.read_text() == newer["fullchain"] != older["fullchain"]

    with closing(scene.servers.valkey.client()) as client:
        client.set("knit:index:revision", "1")
    chain.unlink()
    assert scene.watch_once().code == 0
    assert chain.read_text() == newer["fullchain"]
    assert scene.reloaded() == 3
