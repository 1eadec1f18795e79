"""Numbered, additive migrations: every command that opens the store applies those that are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import psycopg

from knit.errors import Misconfigured
from knit.store.faults import in_our_words

FILE = re.compile(r"(\d{4})_(\w+)\.sql")
APPLIED = "select version, sha256 from knit_schema_migrations order by version"
HISTORY = """
create table if not exists knit_schema_migrations (
    version    integer primary key,
    name       text not null,
    sha256     text not null,
    applied_at timestamptz not null default now()
)
"""
RECORD = "insert into knit_schema_migrations (version, name, sha256) values (%s, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of `migrations/`."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """What the file was when it was applied: a released migration never changes."""
        return sha256(self.sql.encode()).hexdigest()


def lock_key(subject: str) -> int:
    """A key for pg_advisory_xact_lock; other software in the same database has its own."""
    return int.from_bytes(sha256(f"knit:{subject}".encode()).digest()[:8], "big", signed=True)


def migrations() -> tuple[Migration, ...]:
    """All migrations of this version of knit, in order."""
    folder = files("knit.store") / "migrations"
    found = (_read(match, entry) for entry in folder.iterdir() if (match := FILE.fullmatch(entry.name)))
    return tuple(sorted(found, key=lambda migration: migration.version))


def _read(match: re.Match[str], entry: Traversable) -> Migration:
    return Migration(version=int(match[1]), name=match[2], sql=entry.read_text(encoding="utf-8"))


def bring_up_to_date(connection: psycopg.Connection[Any], known: tuple[Migration, ...] | None = None) -> None:
    """Apply what is missing, in one transaction. One query when nothing is.

    Raises Misconfigured when the database was changed by a newer knit, or by one whose files differ.
    """
    known = migrations() if known is None else known
    try:
        if _missing(_applied(connection), known):
            _apply(connection, known)
    except psycopg.Error as e:
        raise in_our_words(e) from None


def _apply(connection: psycopg.Connection[Any], known: tuple[Migration, ...]) -> None:
    with connection.transaction():
        connection.execute("set local lock_timeout = '60s'")
        connection.execute("set local statement_timeout = '10min'")
        connection.execute("select pg_advisory_xact_lock(%s)", [lock_key("schema")])
        connection.execute(HISTORY)
        for migration in _missing(_applied(connection), known):
            connection.execute(migration.sql)
            connection.execute(RECORD, [migration.version, migration.name, migration.sha256])


def _applied(connection: psycopg.Connection[Any]) -> dict[int, str]:
    try:
        rows = connection.cursor(row_factory=psycopg.rows.tuple_row).execute(APPLIED).fetchall()
    except psycopg.errors.UndefinedTable:
        return {}
    return dict(rows)


def _missing(applied: dict[int, str], known: tuple[Migration, ...]) -> tuple[Migration, ...]:
    newest = known[-1].version
    if max(applied, default=0) > newest:
        message = f"the database has schema {max(applied)}, this knit knows {newest}: update knit on this host"
        raise Misconfigured(message)
    for migration in known:
        if applied.get(migration.version, migration.sha256) != migration.sha256:
            message = f"schema {migration.version} of the database was made by a different knit than this one"
            raise Misconfigured(message)
    return tuple(migration for migration in known if migration.version not in applied)
