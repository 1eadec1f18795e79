"""The list of certificates as the command line sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import psycopg

from knit.core.model.listing import Listed, Try
from knit.core.names import key_of, normalise, split
from knit.errors import Misconfigured, NoSuchCertificate
from knit.store.connection import Connection, Door
from knit.store.database import Database
from knit.store.dsn import parse
from knit.store.queries import Row, queries

if TYPE_CHECKING:
    # A tenth of the time of `knit list` would be spent on making the model's classes, and it needs none of them.
    from knit.core.model.certificate import CertId
    from knit.core.wanted import Edited, ListRules, Wanted
    from knit.store.list.adoption import Adopter


class Certs:
    """What the command line does to the list."""

    def __init__(self, database: Database, allowed: Callable[[], ListRules]) -> None:
        self._database = database
        self._allowed = allowed
        self._sql = queries("list/certs")

    def edit(self, which: CertId | Sequence[str], decide: Callable[[Wanted | None], Wanted], *, enable: bool) -> Edited:
        """See the port `CertList`. Enabled, if asked for, and with the key's tombstone lifted."""
        self.adopt()
        return self._database.together(lambda connection: self.edited(connection, which, decide, enable=enable))

    def adopt(self) -> None:
        """Read what other software has written."""
        from knit.store.list.adoption import adopt  # It needs the model: see above.

        adopt(self._database, self._allowed())

    def edited(
        self,
        connection: Connection,
        which: CertId | Sequence[str],
        decide: Callable[[Wanted | None], Wanted],
        *,
        enable: bool,
    ) -> Edited:
        """The same inside a transaction of the caller's, after `adopt`."""
        from knit.core.wanted import Edited
        from knit.store.list.adoption import Adopter
        from knit.store.rows import wanted_from

        adopter = Adopter(connection, self._allowed())
        adopter.lock()
        row = self._entry(connection, which)
        before = None if row is None else wanted_from(row)
        after = decide(before)
        if why := self._claimed(connection, adopter, row, after):
            raise Misconfigured(why)
        enabled = enable or row is None or bool(row["enabled"])
        cert_id = self._store(connection, row, after, enabled=enabled)
        was_enabled = enabled if row is None else bool(row["enabled"])
        return Edited(id=cert_id, before=before, after=after, was_enabled=was_enabled, enabled=enabled)

    def remove(self, cert_id: CertId) -> None:
        """Delete the row; the next pass prunes what was published. Raises NoSuchCertificate."""
        self._change("remove", {"id": cert_id})

    def switch(self, cert_id: CertId, *, enabled: bool) -> None:
        """Enable or disable. What a disabled certificate has published is pruned by the next pass."""
        self._change("switch", {"id": cert_id, "enabled": enabled})

    def request_renewal(self, cert_id: CertId) -> None:
        """Make it due now, whatever failed before. Raises NoSuchCertificate."""
        self._change("request", {"id": cert_id})

    def find(self, domains: Sequence[str]) -> CertId:
        """The certificate with exactly this set of names, in any order. Raises NoSuchCertificate."""
        names = normalise(domains)
        found = self._database.together(lambda connection: self._find(connection, key_of(names)))
        if found is None:
            raise NoSuchCertificate(f"no certificate for {','.join(names)}{self._others_with(names[0])}")
        return found

    def _others_with(self, name: str) -> str:
        others = self._database.rows(self._sql["with_name"], {"name": name})
        if not others:
            return ""
        has = "; ".join(f"certificate {row['id']} has {row['domains']}" for row in others)
        return f", and --domains is a whole set of names: {has}"

    def listing(self) -> Sequence[Listed]:
        """All certificates, by id."""
        return tuple(_listed(row) for row in self._database.rows(self._sql["listing"], {"id": None}))

    def tries(self, cert_id: CertId) -> Sequence[Try]:
        """Its newest attempts, the last one first."""
        return tuple(Try(**row) for row in self._database.rows(self._sql["tries"], {"id": cert_id}))

    def astray(self) -> int:
        """How many enabled certificates are not as wanted: not published as asked for, or failing."""
        return int(self._database.rows(self._sql["astray"])[0]["found"])

    def one(self, cert_id: CertId) -> Listed:
        """One certificate as the list shows it. Raises NoSuchCertificate."""
        row = self._database.row(self._sql["listing"], {"id": cert_id})
        if row is None:
            raise _unknown(cert_id)
        return _listed(row)

    def _entry(self, connection: Connection, which: CertId | Sequence[str]) -> Row | None:
        """The row, adopted or not; None when no row has these names. Raises NoSuchCertificate for an id."""
        cert_id = which if isinstance(which, int) else self._find(connection, key_of(which))
        if cert_id is None:
            return None
        row = connection.execute(queries("list/entries")["entry"], {"id": cert_id}).fetchone()
        if row is None:
            raise _unknown(cert_id)
        return row

    def _claimed(self, connection: Connection, adopter: Adopter, row: Row | None, wanted: Wanted) -> str | None:
        """Which other certificate has these names, this key or one of these files, and what to do about it."""
        cert_id = 0 if row is None else row["id"]
        why = adopter.clash(cert_id, wanted)
        twin = self._find(connection, key_of(wanted.names))
        if why is None and twin is not None and twin != cert_id:
            return f"certificate {twin} has the same names"
        return why if why is None or cert_id else f"{why}; `knit set --id N` changes a certificate that is there"

    def _store(self, connection: Connection, row: Row | None, wanted: Wanted, *, enabled: bool) -> CertId:
        values = {**_values(wanted), "id": None if row is None else row["id"], "enabled": enabled}
        if row is not None and key_of(wanted.names) == _key_or_none(row["domains"]):
            # As it was typed, or as other software wrote it.
            values["domains"] = row["domains"]
        made = connection.execute(queries("list/entries")["insert" if row is None else "update"], values).fetchall()
        connection.execute(self._sql["adopt_one"], {"id": made[0]["id"]})
        connection.execute(self._sql["forget_tombstone"], values)
        return cast("CertId", made[0]["id"])

    def _find(self, connection: Connection, names_key: str) -> CertId | None:
        """Also among rows that no pass has adopted or could adopt."""
        row = connection.execute(self._sql["by_names"], {"names_key": names_key}).fetchone()
        if row is not None:
            return cast("CertId", row["id"])
        left_out = connection.execute(self._sql["left_out"]).fetchall()
        return next((cast("CertId", row["id"]) for row in left_out if _key_or_none(row["domains"]) == names_key), None)

    def _change(self, statement: str, parameters: Mapping[str, object]) -> None:
        if self._database.row(self._sql[statement], parameters) is None:
            raise _unknown(parameters["id"])


def glance(url: str) -> Sequence[Listed]:
    """All certificates, by id, from a database as it stands; none where it cannot be read or has no list."""
    try:
        with closing(Door(parse(url)).open()) as connection:
            return tuple(map(_listed, connection.execute(queries("list/certs")["listing"], {"id": None}).fetchall()))
    except psycopg.Error:
        return ()


def _values(wanted: Wanted) -> dict[str, Any]:
    from knit.core.wanted import OPTIONS

    options = {name: getattr(wanted, name) for name in OPTIONS}
    names = wanted.names
    return {**options, "domains": ",".join(names), "names": list(names), "names_key": key_of(names)}


def _key_or_none(domains: str) -> str | None:
    try:
        return key_of(split(domains))
    except Misconfigured:
        return None


def _unknown(cert_id: object) -> NoSuchCertificate:
    return NoSuchCertificate(f"no certificate has the id {cert_id}")


def _listed(row: Row) -> Listed:
    facts = {name: row[name] for name in Listed.__slots__ if name not in ("id", "adopted")}
    return Listed(id=cast("CertId", row["id"]), adopted=row["names_key"] is not None, **facts)
