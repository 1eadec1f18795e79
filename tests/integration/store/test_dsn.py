"""Whatever pgx and libpq take for a way to a database is taken here; and databases of any encoding."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from knit.core.model.certificate import CertId
from knit.core.model.decision import Reason
from knit.errors import IdentifierRejected, Misconfigured, Transient
from knit.settings.environment import Environment
from knit.settings.variables import SETTINGS
from knit.store.database import Database
from rig.ports import free_port
from rig.postgres import SUPERUSER, Postgres
from tests.integration.store.conftest import TERMS, Store, new_cert

QUOTED = "the CA said \u201cno\u201d \u2013 \u00fc \udcff \u4e2d \x1b[31m"


def forms(server: Postgres, database: str) -> list[str]:
    here, away = f"127.0.0.1:{server.port}", f"127.0.0.1:{free_port()}"
    return [
        f"postgres://{SUPERUSER}@{here}/{database}",
        f"postgresql://{SUPERUSER}@{away},{here}/{database}",
        f"postgres://{SUPERUSER}@{here},{away}/{database}?target_session_attrs=any&pool_max_conns=4",
        f"postgres:///{database}?host=127.0.0.1&port={server.port}&user={SUPERUSER}",
        f"postgres://{SUPERUSER}:un%40used@/{database}?host=127.0.0.1,127.0.0.1&port={away.split(':')[1]},{server.port}",
        f"host=127.0.0.1 port={server.port} user={SUPERUSER} dbname={database}",
        f"host = 127.0.0.1 port='{server.port}' user={SUPERUSER} database='{database}' pool_x=3 sslmode=prefer",
        f"postgres://{SUPERUSER}@{here}/{database}?client_encoding=LATIN1&timezone=Asia/Tokyo&search_path=public",
        f"postgres://{SUPERUSER}@{here}/{database}?options=-c%20client_encoding=latin1%20-c%20intervalstyle=iso_8601",
    ]


@pytest.mark.parametrize("form", range(9))
def test_every_form_of_a_dsn_is_taken(postgres: Postgres, database_url: str, form: int) -> None:
    dsn = forms(postgres, database_url.rpartition("/")[2])[form]
    read = SETTINGS["KNIT_DB_URL"].read(Environment({"KNIT_DB_URL": dsn}))
    with Database.open(read, connections=2) as database:
        row = database.rows("select '\u201c' || current_setting('client_encoding') as a, interval '1 day' as b")[0]
        assert row["a"] == "\u201cUTF8"
        assert row["b"].days == 1


@pytest.mark.parametrize(
    "dsn",
    [
        "postgres://u@h:5432:5433/db",
        "postgres://u@h1:x,h2/db",
        "postgres://u@127.0.0.1:1/db?sslmode=perhaps",
        "postgres://u@127.0.0.1:1/db?krbspn=x&no-word=1",
        "postgres://u@h:70000/db",
        "host=h port=x",
        "just words",
        "mysql://u@h/db",
        "postgres://u@h/db?connect_timeout=soon",
        "postgres://u@%00/db",
    ],
)
def test_what_is_not_taken_is_refused_in_one_line(dsn: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Database.open(SETTINGS["KNIT_DB_URL"].read(Environment({"KNIT_DB_URL": dsn})))
    assert "\n" not in str(caught.value)


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "LATIN9", "EUC_JP"])
def encoded(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[str]:
    """A database of another encoding."""
    name = f"encoded_{request.param.lower()}"
    made = sql.SQL("create database {} encoding {} template template0 lc_collate 'C' lc_ctype 'C'")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(made.format(sql.Identifier(name), sql.Literal(request.param)))
    yield postgres.url_of(name)
    postgres.drop_database(name)


def test_a_database_of_another_encoding_works_and_every_failure_leaves_a_row(encoded: str) -> None:
    with Database.open(encoded, connections=2) as database:
        Database.open(encoded).close()
        store = Store(database)
        for number, error in enumerate((IdentifierRejected(QUOTED), Transient(QUOTED)), 1):
            spec = store.add(number)
            with store.holding.hold(spec.id) as held:
                assert held is not None
                lease, known = held
                attempt = store.attempts.begin(
                    lease, spec, Reason.NEVER_ISSUED, TERMS.asked(spec), "ab", newest=known.newest
                )
                write = store.attempts.fail if number == 1 else store.attempts.postpone
                write(lease, attempt, error=error, retry_at=lease.at)
            row = store.certs.one(spec.id)
            assert (row.last_error or "").startswith("the CA said")
            assert row.failures == 1
        store.passes.complain([CertId(2)], IdentifierRejected(QUOTED))
        assert (store.certs.one(CertId(2)).last_error or "").startswith("the CA said")
        store.leases.stop()


def test_odd_bytes_of_a_database_without_an_encoding_break_nothing(postgres: Postgres) -> None:
    name = "bytes"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("create database bytes encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'")
    try:
        with Database.open(postgres.url_of(name), connections=2) as database:
            store = Store(database)
            store.list.add(new_cert(1))
            with psycopg.connect(postgres.url_of(name), autocommit=True) as raw:
                raw.execute(
                    b"insert into knit_certs (domains, provider, valkey_key, cert_path, key_path, last_error) "
                    b"values (E'b\\xfc.example.org', 'exec', E'k\\xfc', '/b.crt', '/b.key', E'\\xff')"
                )
            assert store.passes.adopt() == 1
            good, odd = store.certs.listing()
            assert (good.adopted, odd.adopted) == (True, False)
            store.list.add(new_cert(3, "\u00fc.example.org"))
            store.leases.stop()
    finally:
        postgres.drop_database(name)
