"""The port NodeRecords over knit_nodes and knit_served: what nodes have reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from knit.core.model.deployed import Deployed
from knit.core.model.node import Reported
from knit.core.report import Head
from knit.core.served import is_done
from knit.core.text import ascii_only
from knit.store.connection import Connection
from knit.store.database import Database
from knit.store.queries import Row, queries
from knit.store.texts import Shown


class NodeRecords:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("served/records")

    def known(self) -> Mapping[str, Reported]:
        """See the port."""
        rows = self._database.rows(self._sql["known"])
        return {row["name"]: Reported(**row) for row in rows}

    def recorded_parts(self, name: str, revision: int) -> Mapping[int, str] | None:
        """See the port."""
        row = self._database.row(self._sql["parts"], {"name": name, "revision": revision})
        return None if row is None else _numbered(row["parts"])

    def record(
        self, before: Reported, head: Head, digest: str, age: timedelta, parts: Mapping[int, Sequence[Deployed]]
    ) -> bool:
        """See the port."""
        told = {
            "name": head.name,
            "version": Shown(head.knit),
            "age": age,
            "interval": head.interval,
            "head": digest,
            "parts": Jsonb(_recorded(before, head, parts)),
            "revision": before.revision,
        }
        return self._database.together(lambda connection: self._record(connection, told, head, parts))

    def refuse(self, before: Reported, digest: str | None, why: str) -> None:
        """See the port."""
        self._database.together(lambda connection: self._refuse(connection, before, digest, why))

    def settle(self, keys: Sequence[str]) -> None:
        """See the port."""
        self._database.write(self._sql["silent"])
        if keys:
            self._database.write(self._sql["everywhere"], {"keys": list(keys)})

    def _record(self, connection: Connection, told: Row, head: Head, parts: Mapping[int, Sequence[Deployed]]) -> bool:
        statement = "another" if told["revision"] else "first"
        if not connection.execute(self._sql[statement], told).rowcount:
            return False
        found = [(number, one) for number, some in parts.items() for one in some]
        keys = [one.key for _, one in found]
        node = {"node": head.name, "keys": keys}
        spelled = _all_letters if _holds_all_letters(connection) else _ascii_letters
        connection.execute(self._sql["gone"], {**node, "parts": list(parts), "kept": list(head.parts)})
        if found:
            rows = [_served(number, spelled(one)) for number, one in found]
            reached = [row for _, one in found for row in _reached(spelled(one))]
            connection.execute(self._sql["put"], {**node, "found": Jsonb(rows)})
            connection.execute(self._sql["reached"], {**node, "reached": Jsonb(reached)})
            connection.execute(self._sql["trim"], node)
        return True

    def _refuse(self, connection: Connection, before: Reported, digest: str | None, why: str) -> None:
        told = {"name": before.name, "head": digest, "why": Shown(why), "revision": before.revision}
        if not before.revision and connection.execute(self._sql["refused"], told).rowcount:
            told["revision"] = 1
        connection.execute(self._sql["refuse"], told)


def _recorded(before: Reported, head: Head, parts: Mapping[int, Sequence[Deployed]]) -> dict[str, str]:
    """Digests of the parts as they are recorded now: of one that could not be read, that of before, if there is one."""
    now = {number: digest if number in parts else before.parts.get(number) for number, digest in head.parts.items()}
    return {str(number): digest for number, digest in now.items() if digest is not None}


def _numbered(parts: Mapping[str, str]) -> dict[int, str]:
    return {int(number): digest for number, digest in parts.items()}


def _served(number: int, one: Deployed) -> Row:
    failure = one.failure
    told = (
        {}
        if failure is None
        else {
            "failed_step": failure.step.value,
            "failed_error": failure.error,
            "failed_output": failure.output,
            "failed_at": _written(failure.at),
            "next_try": _written(failure.next_try),
            "failed_generation": failure.generation,
        }
    )
    return {
        **_evidence(one),
        "part": number,
        "place": one.place,
        "name": one.name,
        "not_after": _written(one.not_after),
        "probed": one.probed,
        "waits": one.waits,
        "orphaned": one.orphaned,
        "done": is_done(one),
        "rolled_back": failure is not None and failure.rolled_back,
        **told,
    }


def _reached(one: Deployed) -> Iterator[Row]:
    """What the history has of it: of the generation in its files, and of one that failed instead."""
    failure = one.failure
    failed = None if failure is None else failure.generation
    if one.generation is not None and one.written_at is not None:
        yield {**_evidence(one), "rolled_back": False, **(_failed(one) if failed == one.generation else {})}
    if failed is not None and failed != one.generation:
        yield {"key": one.key, "generation": failed, **_failed(one)}


def _failed(one: Deployed) -> Row:
    assert one.failure is not None
    failure = one.failure
    told = {"failed_at": _written(failure.at), "failed_step": failure.step.value, "failed_error": failure.error}
    return {**told, "rolled_back": failure.rolled_back}


def _evidence(one: Deployed) -> Row:
    return {
        "key": one.key,
        "generation": one.generation,
        "serial": one.serial,
        "fingerprint": one.fingerprint,
        "published_at": _written(one.published_at),
        "written_at": _written(one.written_at),
        "reloaded_at": _written(one.reloaded_at),
        "served_at": _written(one.served_at),
        "served_on": one.served_on,
    }


def _written(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _holds_all_letters(connection: Connection) -> bool:
    return connection.pgconn.parameter_status(b"server_encoding") == b"UTF8"


def _all_letters(one: Deployed) -> Deployed:
    return one


def _ascii_letters(one: Deployed) -> Deployed:
    failure = one.failure
    if failure is not None:
        failure = replace(failure, error=ascii_only(failure.error), output=ascii_only(failure.output))
    waits, on = (None if text is None else ascii_only(text) for text in (one.waits, one.served_on))
    place, name, key = (ascii_only(text) for text in (one.place, one.name, one.key))
    return replace(one, place=place, name=name, key=key, waits=waits, served_on=on, failure=failure)
