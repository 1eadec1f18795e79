"""The ports `Revocations` and `RevocationBook` over knit_revocations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from knit.core.model.certificate import CertId
from knit.core.model.revocation import Copy, Revocation, RevocationId, Revoked
from knit.core.revocation import COMPROMISED, Course, Standing
from knit.errors import NoSuchCertificate
from knit.store.connection import Connection
from knit.store.database import Database
from knit.store.journal.fencing import told
from knit.store.queries import Row, queries

ALL: Mapping[str, object] = {"id": None, "cert_id": None, "serial": None, "directory": None, "open": False}


class Revocations:
    """See the ports."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("revocations/revocations")

    def due(self) -> Sequence[RevocationId]:
        """See the port."""
        return [RevocationId(row["id"]) for row in self._database.rows(self._sql["due"])]

    def one(self, revocation: RevocationId) -> Revocation | None:
        """See the port."""
        found = self._read(id=revocation)
        return found[0] if found else None

    def of(self, cert_id: CertId) -> Sequence[Revocation]:
        """See the port."""
        return self._read(cert_id=cert_id)[::-1]

    def open(self) -> Sequence[Revocation]:
        """See the port."""
        return self._read(open=True)

    def ask(self, cert_id: CertId, decide: Callable[[Standing], Course | None]) -> Revocation:
        """See the port."""
        return self._database.together(lambda connection: self._asked(connection, cert_id, decide))

    def copied(self, one: Revocation, copy: Copy, *, fingerprint: str | None, spki_sha256: str | None) -> None:
        """See the port."""
        if spki_sha256 is not None and one.reason == COMPROMISED:
            self._database.write(self._sql["compromised"], {"spki_sha256": spki_sha256, "cert_id": one.cert_id})
        self._write("copied", one, copy=copy.value, fingerprint=fingerprint)

    def postpone(self, one: Revocation, *, error: BaseException, retry_at: datetime) -> None:
        """See the port."""
        told(error, lambda words: self._write("postpone", one, tries=one.tries, retry_at=retry_at, **words))

    def revoked(self, one: Revocation, at: datetime | None) -> None:
        """See the port."""
        self._write("revoked", one, at=at)

    def refuse(self, one: Revocation, *, error: BaseException) -> None:
        """See the port."""
        told(error, lambda words: self._write("refuse", one, **words))

    def discarded(self, one: Revocation) -> None:
        """See the port."""
        self._write("discarded", one)

    def _write(self, statement: str, one: Revocation, **words: object) -> None:
        self._database.write(self._sql[statement], {"id": one.id, **words})

    def _read(self, **wanted: object) -> Sequence[Revocation]:
        return [_revocation(row) for row in self._database.rows(self._sql["read"], {**ALL, **wanted})]

    def _asked(
        self, connection: Connection, cert_id: CertId, decide: Callable[[Standing], Course | None]
    ) -> Revocation:
        row = connection.execute(self._sql["standing"], {"cert_id": cert_id}).fetchone()
        if row is None:
            raise NoSuchCertificate(f"no certificate has the id {cert_id}")
        facts = {**row}
        issued = {"serial": row["serial"], "directory": facts.pop("directory")}
        former = self._newest(connection, **issued) if row["serial"] is not None else None
        course = decide(Standing(**facts, former=former))
        if course is None:
            assert former is not None
            return former
        if course.compromise:
            connection.execute(queries("publications/installation")["compromise"], {"id": cert_id})
        words = {"cert_id": cert_id, "reason": course.reason, "replace": course.replace}
        (asked,) = connection.execute(self._sql["ask"], words).fetchall()
        if course.renew:
            connection.execute(queries("list/certs")["request"], {"id": cert_id})
        if course.disable:
            connection.execute(queries("list/certs")["switch"], {"id": cert_id, "enabled": False})
        found = self._newest(connection, id=asked["id"])
        assert found is not None
        return found

    def _newest(self, connection: Connection, **wanted: object) -> Revocation | None:
        rows = connection.execute(self._sql["read"], {**ALL, **wanted}).fetchall()
        return _revocation(rows[-1]) if rows else None


def _revocation(row: Row) -> Revocation:
    return Revocation(**{**row, "state": Revoked(row["state"]), "copy": Copy(row["copy"])})
