"""Connections: what is set on each, what is said when one cannot be had, and what a restart does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from knit.errors import CredentialsRejected, Misconfigured, ServerDenied, Unreachable
from knit.store.connection import Connection
from knit.store.database import Database
from knit.store.dsn import parse
from rig.ports import free_port
from rig.postgres import Postgres
from rig.process import wait_until

SHOWN = "select name, setting from pg_settings where name = any(%(names)s)"
LIMITS = {
    "jit": "off",
    "statement_timeout": "8000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "30000",
    "TimeZone": "UTC",
    "application_name": "knit",
}
SECRET = "s3cr3t-canary"
SELECTABLE = 1024
"""File descriptors that select(2) knows."""


def settings_of(database: Database, names: Sequence[str]) -> dict[str, str]:
    return {row["name"]: row["setting"] for row in database.rows(SHOWN, {"names": list(names)})}


@pytest.mark.parametrize("connections", [1, 3])
def test_every_connection_has_its_limits(database_url: str, connections: int) -> None:
    with Database.open(database_url, connections=connections) as database, ThreadPoolExecutor(6) as pool:
        for shown in pool.map(lambda _: settings_of(database, list(LIMITS)), range(12)):
            assert shown == LIMITS


def test_urls_of_the_originals_driver_are_taken_with_its_pool_settings(database_url: str) -> None:
    url = f"{database_url}?sslmode=prefer&pool_max_conns=7&pool_max_conn_lifetime=1h&search_path=public&work_mem=5MB"
    with Database.open(url) as database:
        assert settings_of(database, ["work_mem", "search_path"]) == {"work_mem": "5120", "search_path": "public"}


def test_a_list_of_words_is_taken_as_well(postgres: Postgres, database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    words = f"host=127.0.0.1 port={postgres.port} user=rig dbname='{name}' pool_max_conns=3"
    with Database.open(words) as database:
        assert database.row("select current_database() as name") == {"name": name}


def test_a_setting_in_the_url_wins_over_ours(database_url: str) -> None:
    with Database.open(f"{database_url}?statement_timeout=3s") as database:
        assert settings_of(database, ["statement_timeout"]) == {"statement_timeout": "3000"}


@pytest.mark.parametrize("mode", ["simple_protocol", "exec"])
def test_a_url_made_for_a_statement_pooler_prepares_nothing(database_url: str, mode: str) -> None:
    with Database.open(f"{database_url}?default_query_exec_mode={mode}") as database:
        for _ in range(10):
            database.rows("select 1 as one")
        assert database.rows("select * from pg_prepared_statements") == []


@pytest.mark.parametrize(
    "url",
    [
        f"postgres:/{SECRET}",
        f"mysql://u:{SECRET}@host/db",
        f"postgres://u:{SECRET}@host:port/db",
        f"postgres://u:{SECRET}@[::1/db",
        f"{SECRET}",
        f"host=x password='{SECRET}",
        f"postgres://u:{SECRET}@127.0.0.1/db?sslmode=sometimes",
        f"postgres://u:{SECRET}@127.0.0.1/db?bad-word=1",
        f"postgres://u:{SECRET}@127.0.0.1/db?%zz",
    ],
)
def test_a_bad_url_is_misconfigured_in_one_line_without_the_password(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Database.open(url)
    assert_clean(caught.value)
    assert "KNIT_DB_URL" in str(caught.value)


def test_parsed_parameters_do_not_show_the_password() -> None:
    assert SECRET not in repr(parse(f"postgres://u:{SECRET}@host/db"))


def test_a_wrong_password_is_rejected_without_being_repeated(postgres: Postgres, database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    postgres.create_role(f"reader_{name}", "right", database=name)
    with pytest.raises(CredentialsRejected) as caught:
        Database.open(postgres.url_of(name, role=f"reader_{name}", password=SECRET))
    assert_clean(caught.value)
    assert "reader_" not in str(caught.value)


def test_a_user_without_rights_is_told_so(postgres: Postgres, database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    Database.open(database_url).close()
    postgres.create_role(f"stranger_{name}", "right", database=name)
    with pytest.raises(CredentialsRejected, match="rights"):
        Database.open(postgres.url_of(name, role=f"stranger_{name}", password="right"))


def test_an_unknown_database_is_for_the_server_to_have(postgres: Postgres) -> None:
    with pytest.raises(ServerDenied, match="does not exist"):
        Database.open(postgres.url_of("nowhere"))


def test_a_server_that_is_away_is_unreachable() -> None:
    with pytest.raises(Unreachable) as caught:
        Database.open(f"postgres://u:{SECRET}@127.0.0.1:{free_port()}/db")
    assert_clean(caught.value)


def test_a_slow_statement_and_a_held_lock_are_cut_off_as_unreachable(database_url: str) -> None:
    url = f"{database_url}?statement_timeout=300ms&lock_timeout=100ms"
    with Database.open(url) as database:
        with pytest.raises(Unreachable, match="in time"):
            database.rows("select pg_sleep(5)")
        with psycopg.connect(database_url) as other:
            other.execute("lock table knit_certs")
            with pytest.raises(Unreachable, match="in time"):
                database.rows("select * from knit_certs")


def test_values_are_not_quoted_in_errors(database_url: str) -> None:
    with Database.open(database_url) as database, pytest.raises(Misconfigured) as caught:
        database.write(
            "insert into knit_accounts (directory, issuer, email, private_key) values ('d', 'i', null, %(key)s)",
            {"key": SECRET},
        )
    assert_clean(caught.value)


@pytest.mark.parametrize("connections", [1, 4])
def test_a_restart_of_the_server_goes_by_unnoticed(own_postgres: Postgres, connections: int) -> None:
    with Database.open(own_postgres.create_database("x"), connections=connections) as database:
        database.rows("select 1 as one")
        own_postgres.restart()
        with ThreadPoolExecutor(4) as pool:
            for rows in pool.map(lambda _: database.rows("select 1 as one"), range(8)):
                assert rows == [{"one": 1}]


def test_while_the_server_is_away_statements_fail_within_ten_seconds(own_postgres: Postgres) -> None:
    with Database.open(own_postgres.create_database("x"), connections=2) as database:
        own_postgres.stop()
        began = time.monotonic()
        with pytest.raises(Unreachable):
            database.rows("select 1 as one")
        assert time.monotonic() - began < 10


CLIENTS = "select count(*) from pg_stat_activity where datname = %s and backend_type = 'client backend'"
"""Without those who vacuum."""


def test_fifty_threads_live_with_three_connections(postgres: Postgres, database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    most: list[int] = []
    with Database.open(database_url, connections=3) as database:
        done = threading.Event()

        def count() -> None:
            with psycopg.connect(postgres.url, autocommit=True) as watcher:
                while not done.wait(0.02):
                    row = watcher.execute(CLIENTS, [name]).fetchone()
                    most.append(0 if row is None else row[0])

        counting = threading.Thread(target=count)
        counting.start()
        with ThreadPoolExecutor(50) as pool:
            assert len(list(pool.map(lambda _: database.rows("select pg_sleep(0.01)"), range(200)))) == 200
        done.set()
        counting.join()
    assert max(most) <= 3


def test_a_process_with_many_open_files_has_connections_too(database_url: str) -> None:
    with ExitStack() as opened:
        for _ in range(SELECTABLE):
            opened.enter_context(Path(os.devnull).open())
        database = opened.enter_context(Database.open(database_url, connections=2))
        assert [database.row("select 1 as one") for _ in range(2)] == [{"one": 1}] * 2


def test_a_thread_for_which_no_connection_becomes_free_is_told_so_in_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, done = threading.Barrier(3, timeout=30), threading.Event()

    def work(_: Connection) -> None:
        taken.wait()
        done.wait()

    with Database.open(database_url, connections=2) as database, ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(database.together, work) for _ in range(2)]
        taken.wait()
        monkeypatch.setattr("knit.store.database.PATIENCE", 0.3)
        try:
            with pytest.raises(Unreachable, match="have been busy"):
                database.rows("select 1 as one")
        finally:
            done.set()
        for each in busy:
            each.result()
        assert database.rows("select 1 as one") == [{"one": 1}]


def test_connections_that_could_not_be_opened_are_missed_by_nobody(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database.open(own_postgres.create_database("x"), connections=2) as database:
        own_postgres.stop()
        monkeypatch.setattr("knit.store.database.PATIENCE", 0.3)
        for _ in range(4):
            with pytest.raises(Unreachable) as caught:
                database.rows("select 1 as one")
            assert "busy" not in str(caught.value)
        own_postgres.start()
        assert database.rows("select 1 as one") == [{"one": 1}]


def assert_clean(error: BaseException) -> None:
    """One line, no secret, also not in what it was raised from."""
    texts = [str(error), repr(error.__cause__)]
    if not error.__suppress_context__:
        texts.append(repr(error.__context__))
    assert "\n" not in str(error)
    assert all(SECRET not in text for text in texts)


SESSIONS = "select pid from pg_stat_activity where application_name = 'knit'"


def left_alone(postgres: Postgres) -> None:
    """Until the server has ended every session."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        wait_until(lambda: connection.execute(SESSIONS).fetchall() == [], "the sessions' end")


def terminated(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"select pg_terminate_backend(pid) from ({SESSIONS}) sessions")
    left_alone(postgres)


def restarted(postgres: Postgres) -> None:
    postgres.restart()


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("end", [left_alone, terminated, restarted])
def test_sessions_that_ended_while_idle_cost_no_transaction(
    own_postgres: Postgres, connections: int, end: Callable[[Postgres], None]
) -> None:
    url = own_postgres.create_database("app")
    if end is left_alone:
        url += "?options=-c%20idle_session_timeout%3D200ms"
    with Database.open(url, connections=connections) as database:
        database.write("select 1")
        end(own_postgres)
        ran = []

        def work(connection: Connection) -> None:
            ran.append(connection)
            connection.execute("select 1")

        database.together(work)
        assert len(ran) == 1


def test_a_transaction_whose_session_ends_inside_is_run_again(own_postgres: Postgres) -> None:
    url = own_postgres.create_database("app")
    with Database.open(url) as database:
        ran = []

        def work(connection: Connection) -> None:
            ran.append(connection)
            if len(ran) == 1:
                terminated(own_postgres)
            connection.execute("select 1")

        database.together(work)
        assert len(ran) == 2


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is waited for longer than a second; taking leave may take longer than usual."""
    monkeypatch.setattr("knit.store.database.PATIENCE", 1.0)
    monkeypatch.setattr(Connection, "patience", 1.0)
    monkeypatch.setattr("knit.store.connection.PARTING", 20.0)


def has_no_answer(write: Callable[[], object]) -> bool:
    try:
        write()
    except Unreachable as e:
        assert "no answer" in str(e)
        return True
    return False


@pytest.mark.usefixtures("impatient")
def test_a_commit_that_waits_for_a_standby_that_is_away_has_an_end(own_postgres: Postgres) -> None:
    url = own_postgres.create_database("app")
    with Database.open(url, connections=2) as database, psycopg.connect(own_postgres.url, autocommit=True) as admin:
        database.write("create table t (id int)")
        admin.execute("alter system set synchronous_standby_names = 'away'")
        admin.execute("select pg_reload_conf()")
        for write in (
            lambda: database.write("insert into t values (1)"),
            lambda: database.together(lambda connection: connection.execute("insert into t values (1)")),
        ):
            wait_until(lambda write=write: has_no_answer(write), "a commit that waits for the standby")  # type: ignore[misc] # ours
        waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
        wait_until(lambda: admin.execute(waiting).fetchone() == (0,), "their locks are given back")
        admin.execute("alter system reset synchronous_standby_names")
        admin.execute("select pg_reload_conf()")
        # The server's own processes hear of that one after the other.
        wait_until(lambda: not has_no_answer(lambda: database.write("insert into t values (2)")), "commits again")


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_frozen_costs_a_statement_no_more_than_its_time(own_postgres: Postgres) -> None:
    url = own_postgres.create_database("app")
    with Database.open(url, connections=2) as database:
        pid = database.rows("select pg_backend_pid() as pid")[0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(Unreachable, match="no answer"):
                database.write("select 1")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - began < 10
        database.write("select 1")


@pytest.mark.parametrize("connections", [1, 3])
def test_a_session_with_a_standby_is_left_for_one_with_the_primary(database_url: str, connections: int) -> None:
    name = database_url.rsplit("/", 1)[1]
    Database.open(database_url).close()
    read_only(database_url, name, "on")
    with Database.open(database_url, connections=connections) as database:
        assert database.row("show transaction_read_only") == {"transaction_read_only": "on"}
        read_only(database_url, name, "off")
        assert database.write("update knit_certs set enabled = enabled") == 0
        assert database.together(lambda connection: connection.execute("delete from knit_leases").rowcount) == 0


@pytest.mark.usefixtures("impatient")
def test_where_there_is_only_a_standby_the_words_say_so(database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    Database.open(database_url).close()
    read_only(database_url, name, "on")
    with Database.open(database_url) as database, pytest.raises(Unreachable, match="read-only"):
        database.write("update knit_certs set enabled = enabled")


def read_only(url: str, name: str, value: str) -> None:
    """From now on new sessions are as on a standby, or as on a primary; those that are open stay as they are."""
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(f'alter database "{name}" set default_transaction_read_only = {value}')


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize(
    "change",
    [
        "alter table seen add column more int",
        "alter table seen alter column name type varchar(200)",
        "drop table seen; create table seen (name text, id int)",
    ],
)
def test_a_table_that_is_changed_under_a_prepared_statement_is_read_again(
    database_url: str, connections: int, change: str
) -> None:
    with (
        Database.open(database_url, connections=connections) as database,
        psycopg.connect(database_url, autocommit=True) as other,
    ):
        other.execute("create table seen (id int, name varchar(20))")
        for _ in range(10):
            assert database.rows("select * from seen") == []
        other.execute(change)
        assert database.rows("select * from seen") == []
