"""Migrations, walked from what the original Go knit left behind, beside tables of other software."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import psycopg
import pytest

from knit.core.model.issuer import Identity, Terms
from knit.core.wanted import ListRules
from knit.errors import Misconfigured
from knit.store import schema
from knit.store.accounts.accounts import Accounts
from knit.store.accounts.issuers import IssuerMemory
from knit.store.accounts.sealing import Seal
from knit.store.database import Database
from knit.store.passes.passes import Passes
from knit.valkey.layout import Layout

ORIGINAL = """
CREATE TABLE IF NOT EXISTS knit_certs (
  id BIGSERIAL PRIMARY KEY, domains TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, valkey_key TEXT NOT NULL,
  cert_path TEXT NOT NULL, key_path TEXT NOT NULL, enabled BOOLEAN NOT NULL DEFAULT true,
  not_after TIMESTAMPTZ, last_renewed TIMESTAMPTZ, last_error TEXT);
CREATE TABLE IF NOT EXISTS knit_acme_account (email TEXT, private_key TEXT, registration TEXT);
INSERT INTO knit_certs (domains, provider, valkey_key, cert_path, key_path, not_after, last_renewed) VALUES
  ('example.org,*.example.org', 'desec', 'certs/1', '/1.crt', '/1.key', now() + interval '60 days', now()),
  ('B.example.org', 'desec', 'certs/2', '/2.crt', '/2.key', null, null);
INSERT INTO knit_certs (domains, provider, valkey_key, cert_path, key_path, enabled) VALUES
  ('off.example.org', 'desec', 'certs/3', '/3.crt', '/3.key', false);
INSERT INTO knit_acme_account VALUES ('a@example.org', 'PEM', '{"body": {}, "uri": "https://ca.example/acct/1"}');
"""
UNRELATED = """
create table certs (id bigserial primary key, domains text);
create table schema_migrations (version text);
create schema shop;
create table shop.knit_like (id int);
create view orders as select 1 as id;
insert into certs (domains) values ('left alone');
"""
OBJECTS = """
select 'relation', n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all select 'function', p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all select 'type', t.typname from pg_type t join pg_namespace n on n.oid = t.typnamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and t.typtype not in ('c', 'b')
union all select 'trigger', tgname from pg_trigger where not tgisinternal
union all select 'extension', extname from pg_extension
"""


def objects(url: str) -> set[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        return {(kind, name) for kind, name in connection.execute(OBJECTS)}


def execute(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements)


ALLOWED = ListRules(issuers=("acme",), reserved=Layout().reserved)


def test_a_database_of_the_original_is_adopted_with_its_rows_and_its_account(database_url: str) -> None:
    execute(database_url, ORIGINAL)
    with Database.open(database_url) as database:
        passes = Passes(database, ALLOWED)
        assert passes.adopt() == 0
        assert [spec.names for spec in passes.unrecorded()] == [("example.org", "*.example.org"), ("b.example.org",)]
        assert [spec.id for spec in passes.unrecorded()] == [1, 2]
        account = Accounts(database, Seal()).original()
    assert account is not None
    assert (account.email, account.private_key, account.uri) == ("a@example.org", "PEM", None)


def test_the_original_can_still_read_and_write_its_tables_afterwards(database_url: str) -> None:
    execute(database_url, ORIGINAL)
    with Database.open(database_url) as database:
        Passes(database, ALLOWED).adopt()
        execute(database_url, ORIGINAL.split("INSERT", maxsplit=1)[0])
        execute(
            database_url,
            "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
            "values ('B.example.org', 'ovh', 'certs/2', '/2.crt', '/2b.key') on conflict (domains) do update "
            "set provider = excluded.provider, valkey_key = excluded.valkey_key, cert_path = excluded.cert_path, "
            "key_path = excluded.key_path, enabled = true;"
            "update knit_certs set not_after = now(), last_renewed = now(), last_error = null where id = 2;"
            "delete from knit_certs where domains = 'off.example.org'",
        )
        Passes(database, ALLOWED).adopt()
        assert [(spec.id, spec.provider) for spec in Passes(database, ALLOWED).unrecorded()] == [
            (1, "desec"),
            (2, "ovh"),
        ]


@pytest.mark.parametrize("before", ["", ORIGINAL])
def test_every_object_made_has_knits_prefix_and_nothing_else_changes(database_url: str, before: str) -> None:
    execute(database_url, UNRELATED + before)
    had = objects(database_url)
    Database.open(database_url).close()
    made = objects(database_url) - had
    assert had < objects(database_url)
    assert {name for _, name in made if not name.removeprefix("public.").startswith("knit_")} == set()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select domains from certs").fetchall() == [("left alone",)]


def test_a_database_walked_from_the_original_has_the_schema_of_a_new_one(database_url: str) -> None:
    columns = (
        "select table_name, column_name, data_type, is_nullable, column_default, generation_expression "
        "from information_schema.columns where table_schema = 'public' order by 1, 2"
    )
    Database.open(database_url).close()
    with psycopg.connect(database_url) as connection:
        new = connection.execute(columns).fetchall()
    execute(database_url, "drop schema public cascade; create schema public;" + ORIGINAL)
    Database.open(database_url).close()
    with psycopg.connect(database_url) as connection:
        assert connection.execute(columns).fetchall() == new


def _open(url: str) -> None:
    Database.open(url).close()


def test_processes_that_start_at_once_apply_each_migration_once(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(database_url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with psycopg.connect(database_url) as connection:
        versions = connection.execute("select version from knit_schema_migrations order by 1").fetchall()
    assert versions == [(migration.version,) for migration in schema.migrations()]


def test_an_up_to_date_database_costs_one_query(database_url: str) -> None:
    Database.open(database_url).close()
    with psycopg.connect(database_url, autocommit=True) as connection:
        first, second = _statements(connection), _statements(connection)
        schema.bring_up_to_date(connection)
        third = _statements(connection)
    assert (third - second) - (second - first) == 1


def _statements(connection: psycopg.Connection[tuple[int]]) -> int:
    """How many transactions this database has seen, those of asking included."""
    connection.execute("select pg_stat_force_next_flush()")
    row = connection.execute(
        "select pg_stat_get_db_xact_commit(oid) from pg_database where datname = current_database()"
    )
    found = row.fetchone()
    assert found is not None
    return found[0]


def test_a_database_of_a_newer_knit_is_refused(database_url: str) -> None:
    Database.open(database_url).close()
    execute(database_url, "insert into knit_schema_migrations (version, name, sha256) values (9999, 'later', 'x')")
    with pytest.raises(Misconfigured, match="update knit"):
        Database.open(database_url)


def test_a_migration_that_differs_from_the_one_applied_is_refused(database_url: str) -> None:
    Database.open(database_url).close()
    execute(database_url, "update knit_schema_migrations set sha256 = 'x' where version = 2")
    with pytest.raises(Misconfigured, match="different knit"):
        Database.open(database_url)


def test_a_failing_migration_leaves_nothing_behind(database_url: str) -> None:
    known = schema.migrations()
    broken = replace(known[-1], version=known[-1].version + 1, sql="create table knit_x (id int); select 1/0")
    with psycopg.connect(database_url, autocommit=True) as connection, pytest.raises(Misconfigured):
        schema.bring_up_to_date(connection, (*known, broken))
    assert not any("knit_" in name for _, name in objects(database_url))
    Database.open(database_url).close()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in schema.migrations()] == list(range(1, len(schema.migrations()) + 1))


def test_a_database_of_an_earlier_knit_remembers_where_its_newest_certificate_came_from(database_url: str) -> None:
    known = schema.migrations()
    with psycopg.connect(database_url, autocommit=True) as connection:
        schema.bring_up_to_date(connection, known[:3])
    execute(
        database_url,
        ORIGINAL.split("INSERT INTO knit_acme_account", maxsplit=1)[0]
        + """
        insert into knit_issued
            (cert_id, names_key, issuer, directory, key_type, serial, not_before, not_after, issued_at, sha256,
             generation, valkey_key, cert_path, key_path)
        select id, domains, 'acme', 'https://ca' || id || '.example/dir', 'ec256', '1', now(), now(),
               now() - id * interval '1 day', 'x', 1, valkey_key, cert_path, key_path
        from knit_certs;
        insert into knit_accounts (directory, issuer, email, private_key, created_at)
        values ('https://later.example/dir', 'acme', '', 'PEM', now());
        """,
    )
    with Database.open(database_url) as database:
        memory = IssuerMemory(database)
        first = Identity("https://ca1.example/dir")
        assert memory.recall("acme") == first
        assert memory.remember(Terms(name="acme", directory="https://other.example/dir", roots="system")) == first
        ours = Terms(name="acme", directory=first.directory, roots="system")
        assert memory.remember(ours) == memory.recall("acme") == Identity(first.directory, "system")
        assert memory.remember(replace(ours, roots="others")).roots == "system"


@pytest.mark.parametrize(
    "hand", ["valkey_key = 'certs/1'", "cert_path = '//1.crt'", "key_path = '/./1.key'", "names_key = 'a.example.org'"]
)
def test_what_certificates_of_an_earlier_knit_have_for_themselves_stays_theirs(database_url: str, hand: str) -> None:
    known = schema.migrations()
    before = next(place for place, migration in enumerate(known) if migration.name == "hashes")
    with psycopg.connect(database_url, autocommit=True) as connection:
        schema.bring_up_to_date(connection, known[:before])
    execute(
        database_url,
        "insert into knit_certs (domains, names, names_key, provider, valkey_key, cert_path, key_path) "
        "select n || '.example.org', array[n || '.example.org'], n || '.example.org', 'desec', 'certs/' || i, "
        "'/' || i || '.crt', '/' || i || '.key' from (values ('a', 1), ('b', 2)) as rows (n, i)",
    )
    Database.open(database_url).close()
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(database_url, f"update knit_certs set {hand} where id = 2")
