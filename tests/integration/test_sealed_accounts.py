"""The account's key in PostgreSQL: sealed, re-sealed, and never registered anew for want of the key that opens it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from knit.core.model.attempt import Failed, Renewed
from knit.settings.environment import Environment
from knit.store.accounts.sealing import key_id
from rig.installation import Installation
from rig.postgres import Postgres
from rig.scripted_ca.client import ScriptedCA
from tests.fix_rig import running
from tests.integration.test_flows import Life, Stage
from tests.integration.test_kept_orders import ca, stage, tried

__all__ = ["ca", "stage"]

OLD, NEW = b"o" * 32, b"n" * 32
ORIGINAL = """
create table if not exists knit_acme_account (email text, private_key text, registration text);
insert into knit_acme_account select email, private_key, registration from knit_accounts;
"""


def given(stage: Stage, *keys: bytes) -> Stage:
    """The same servers, for a process with these keys."""
    text = ",".join(b64encode(key).decode() for key in keys)
    return replace(stage, environment=Environment({**stage.environment, "KNIT_SECRET_KEY": text}))


def at_shell(stage: Stage, *words: str, group: str = "account") -> Any:
    settings = stage.servers.settings()
    if key := stage.environment.get("KNIT_SECRET_KEY"):
        settings["KNIT_SECRET_KEY"] = key
    with Installation(settings=settings) as knit:
        return knit.knit(group, *words)


def keys_kept(stage: Stage) -> list[str]:
    return [key for (key,) in stage.sql("select private_key from knit_accounts")]


def test_a_new_account_is_sealed_from_the_start(stage: Stage) -> None:
    first, second = stage.wanted(2)
    assert isinstance(tried(given(stage, NEW), first), Renewed)
    (kept,) = keys_kept(stage)
    assert kept.startswith(f"sealed:v1:{key_id(NEW)}:")
    assert isinstance(tried(given(stage, OLD, NEW), second), Renewed)
    assert keys_kept(stage) == [kept]


@pytest.mark.parametrize("keys", [(), (OLD,)])
def test_without_the_key_nothing_is_registered_and_one_sentence_says_why(
    stage: Stage, ca: ScriptedCA, keys: tuple[bytes, ...]
) -> None:
    first, second = stage.wanted(2)
    tried(given(stage, NEW), first)
    before = ca.counts()["totals"]["accounts"], keys_kept(stage)
    failed = tried(given(stage, *keys), second)
    assert isinstance(failed, Failed)
    assert f"is sealed with key {key_id(NEW)}" in failed.error
    assert (ca.counts()["totals"]["accounts"], keys_kept(stage)) == before
    assert isinstance(tried(given(stage, *keys, NEW), second), Renewed)


def test_a_clear_key_is_used_and_sealed_by_command_and_sealed_anew_under_the_next_key(stage: Stage) -> None:
    first, second, third = stage.wanted(3)
    tried(stage, first)
    (clear,) = keys_kept(stage)
    assert "PRIVATE KEY" in clear
    assert isinstance(tried(given(stage, OLD), second), Renewed)
    assert keys_kept(stage) == [clear], "who only uses it leaves it as it is"
    results = [
        at_shell(given(stage, OLD), "seal", "--json").json["keys"][0]["result"],
        at_shell(given(stage, OLD), "seal", "--json").json["keys"][0]["result"],
        at_shell(given(stage, NEW, OLD), "seal", "--issuer", "acme", "--json").json["keys"][0]["result"],
    ]
    assert results == ["sealed", "sealed already", "sealed"]
    assert keys_kept(stage)[0].startswith(f"sealed:v1:{key_id(NEW)}:")
    assert isinstance(tried(given(stage, NEW), third), Renewed)
    assert len(keys_kept(stage)) == 1


def test_the_go_knits_copy_is_sealed_too_unless_it_is_to_be_kept(stage: Stage) -> None:
    (first,) = stage.wanted(1)
    tried(stage, first)
    (clear,) = keys_kept(stage)
    stage.sql("delete from knit_acme_account")
    stage.sql(ORIGINAL.split(";")[1])
    kept = at_shell(given(stage, NEW), "seal", "--keep-original")
    assert "the Go knit's table: left as it was; it lies in clear" in kept.out
    assert stage.sql("select private_key from knit_acme_account") == [(clear,)]
    at_shell(given(stage, NEW), "seal")
    ((sealed,),) = stage.sql("select private_key from knit_acme_account")
    assert sealed.startswith(f"sealed:v1:{key_id(NEW)}:")


def test_a_sealed_account_of_the_go_knit_is_adopted_by_who_can_open_it(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    stage.sql("delete from knit_acme_account")
    stage.sql(ORIGINAL.split(";")[1])
    before = stage.sql("select uri from knit_accounts")
    at_shell(given(stage, NEW), "seal")
    stage.sql("delete from knit_accounts")
    failed = tried(stage, second)
    assert isinstance(failed, Failed)
    assert "the account key of the Go knit's table is sealed" in failed.error
    assert isinstance(tried(given(stage, NEW), second), Renewed)
    assert stage.sql("select uri from knit_accounts") == before


def test_a_row_that_cannot_be_opened_keeps_no_other_from_being_sealed(stage: Stage) -> None:
    stage.wanted(1)
    for issuer, key in (("a", f"sealed:v1:{key_id(OLD)}:AAAA"), ("b", "clear")):
        stage.sql(
            "insert into knit_accounts (directory, issuer, email, private_key) values ('d', %s, '', %s)", issuer, key
        )
    done = at_shell(given(stage, NEW), "seal")
    assert (done.code, "issuer a is sealed with key" in done.err) == (2, True)
    kept = keys_kept(stage)
    assert (kept[0].endswith(":AAAA"), kept[1].startswith("sealed:")) == (True, True)


def test_an_issuer_is_tested_with_its_sealed_account_by_who_can_open_it(stage: Stage) -> None:
    (first,) = stage.wanted(1)
    tried(given(stage, NEW), first)
    opened = at_shell(given(stage, OLD, NEW), "test", "acme", group="issuers")
    assert (opened.code, ": valid" in opened.out) == (0, True), opened.out
    closed = at_shell(stage, "test", "acme", group="issuers")
    assert (closed.code, f"is sealed with key {key_id(NEW)}" in closed.out) == (1, True), closed.out


def test_there_is_no_sealing_without_a_key(stage: Stage) -> None:
    done = at_shell(stage, "seal")
    assert (done.code, "KNIT_SECRET_KEY is not set" in done.err) == (2, True)


def test_forgetting_an_account_needs_no_key_and_a_new_key_is_sealed(stage: Stage) -> None:
    first, second = stage.wanted(2)
    tried(given(stage, OLD), first)
    assert at_shell(stage, "forget").code == 0
    assert at_shell(given(stage, NEW), "forget", "--new-key").code == 0
    assert keys_kept(stage)[0].startswith(f"sealed:v1:{key_id(NEW)}:")
    assert isinstance(tried(given(stage, NEW), second), Renewed)


@contextmanager
def own_server() -> Iterator[Postgres]:
    yield from running(Postgres)


def in_files(postgres: Postgres, needle: bytes) -> list[str]:
    """Files of tables that hold this; the write-ahead log is not looked through."""
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute("checkpoint")
    folder = Path(postgres.data) / "base"
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_no_clear_key_is_left_in_the_files_of_the_tables(stage: Stage) -> None:
    with own_server() as postgres:
        postgres.create_database("knit")
        own = replace(stage, servers=replace(stage.servers, database=postgres.url_of("knit")))
        settings = {**own.environment, "KNIT_DB_URL": postgres.url_of("knit")}
        own = replace(own, environment=Environment(settings))
        (cert_id,) = own.wanted(1)
        tried(own, cert_id)
        own.sql(ORIGINAL)
        needle = keys_kept(own)[0].splitlines()[1].encode()
        assert len(in_files(postgres, needle)) == 2, "the search sees a clear key"
        with psycopg.connect(postgres.url_of("knit")) as reader:
            reader.execute("begin isolation level repeatable read").execute("select count(*) from knit_accounts")
            done = at_shell(given(own, NEW), "seal", "--json")
            assert done.json["old_versions_left"] == ["knit_acme_account", "knit_accounts"]
        own.sql("update knit_accounts set email = email")
        own.sql("select pg_create_physical_replication_slot('standby', true)")
        done = at_shell(given(own, OLD, NEW), "seal", "--json")
        assert (done.json["old_versions_left"], done.json["kept_by"]) == ([], ["replication slot standby"])
        own.sql("select pg_drop_replication_slot('standby')")
        assert in_files(postgres, needle) == []


def test_a_prepared_transaction_that_holds_the_account_stops_its_sealing_and_another_is_named(stage: Stage) -> None:
    with own_server() as postgres:
        postgres.create_database("knit")
        with psycopg.connect(postgres.url_of("knit"), autocommit=True) as admin:
            admin.execute("alter system set max_prepared_transactions = 2")
        postgres.stop()
        postgres.start()
        settings = {**stage.environment, "KNIT_DB_URL": postgres.url_of("knit")}
        servers = replace(stage.servers, database=postgres.url_of("knit"))
        own = replace(stage, servers=servers, environment=Environment(settings))
        tried(own, *own.wanted(1))
        clear = keys_kept(own)
        with psycopg.connect(postgres.url_of("knit"), autocommit=True) as admin:
            admin.execute("begin; update knit_accounts set email = email; prepare transaction 'holding'")
            held = at_shell(given(own, NEW), "seal", "--json")
            assert (held.code, "did not answer in time" in held.err) == (1, True), held.err
            assert keys_kept(own) == clear
            admin.execute("rollback prepared 'holding'")
            admin.execute("begin; create table other (); prepare transaction 'beside'")
            done = at_shell(given(own, NEW), "seal", "--json").json
            assert done["old_versions_left"] == ["knit_acme_account", "knit_accounts"]
            assert done["kept_by"] == ["prepared transaction beside"]
            admin.execute("rollback prepared 'beside'")
        done = at_shell(given(own, NEW), "seal", "--json").json
        assert (done["old_versions_left"], done["kept_by"]) == ([], [])


@pytest.mark.parametrize(("keys", "times"), [((), 1), ((NEW,), 0)])
def test_each_start_warns_once_where_keys_lie_in_clear(
    stage: Stage, keys: tuple[bytes, ...], times: int, caplog: pytest.LogCaptureFixture
) -> None:
    with given(stage, *keys).process(Life()):
        pass
    assert caplog.text.count("KNIT_SECRET_KEY is not set") == times
