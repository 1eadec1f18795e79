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

ALL: Mapping[str, object] = {"id": None, "cert_id": None, "serial": None, "open": False}


class Revocations:
    """See the ports."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("revocations/revocations")

    def any_due(self) -> bool:
        """See the port."""
        row = self._database.row(self._sql["any_due"])
        return row is not None and bool(row["due"])

    def due(self) -> Sequence[RevocationId]:
        """See the port."""
        return [RevocationId(row["id"]) for row in self._database.rows(self._sql["due"])]

    def uncopied(self) -> Sequence[RevocationId]:
        """See the port."""
        return [RevocationId(row["id"]) for row in self._database.rows(self._sql["uncopied"])]

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

    def ask(self, which: CertId | str, decide: Callable[[Standing], Course | None]) -> Revocation:
        """See the port."""
        return self._database.together(lambda connection: self._asked(connection, which, decide))

    def copied(self, one: Revocation, copy: Copy, *, fingerprint: str | None, spki_sha256: str | None) -> None:
        """See the port."""
        if spki_sha256 is not None and one.reason == COMPROMISED:
            self.compromised(one, spki_sha256)
        self._write("copied", one, copy=copy.value, fingerprint=fingerprint)

    def compromised(self, one: Revocation, spki_sha256: str) -> None:
        """See the port."""
        self._database.write(self._sql["compromised"], {"spki_sha256": spki_sha256, "cert_id": one.cert_id})

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
        self, connection: Connection, which: CertId | str, decide: Callable[[Standing], Course | None]
    ) -> Revocation:
        if isinstance(which, str):
            row = connection.execute(self._sql["by_serial"], {"serial": which}).fetchone()
            if row is None:
                return self._asked_of_past(connection, which, decide)
            which = CertId(row["cert_id"])
        row = connection.execute(self._sql["standing"], {"cert_id": which}).fetchone()
        if row is None:
            raise NoSuchCertificate(f"no certificate has the id {which}")
        former = None
        if row["serial"] is not None:
            former = self._newest(connection, serial=row["serial"], cert_id=which)
        course = decide(Standing(**row, former=former))
        if course is None:
            assert former is not None
            return former
        return self._written(connection, which, course)

    def _written(self, connection: Connection, cert_id: CertId, course: Course) -> Revocation:
        if course.compromise:
            connection.execute(queries("publications/installation")["compromise"], {"id": cert_id})
        words = {"reason": course.reason, "replace": course.replace}
        at = {"issuer": course.issuer, "directory": course.directory}
        (asked,) = connection.execute(self._sql["ask"], {"cert_id": cert_id, **words, **at}).fetchall()
        if course.renew:
            connection.execute(queries("list/certs")["request"], {"id": cert_id})
        if course.disable:
            connection.execute(queries("list/certs")["switch"], {"id": cert_id, "enabled": False})
        return self._now(connection, asked)

    def _asked_of_past(
        self, connection: Connection, serial: str, decide: Callable[[Standing], Course | None]
    ) -> Revocation:
        """Of a certificate that is on the list no more, or has another one in its place."""
        former = self._newest(connection, serial=serial)
        row = connection.execute(self._sql["past"], {"serial": serial}).fetchone()
        if former is None and row is None:
            raise NoSuchCertificate(
                f"no certificate with serial number {serial} is known here: it is neither what is published now, nor "
                "one of a CA of your own, nor one whose revocation was asked for"
            )
        course = decide(self._past(connection, serial, former, row))
        if course is None:
            assert former is not None
            return former
        words = {"serial": serial, "reason": course.reason}
        again = former is not None and (former.copy is Copy.KEPT or row is None)
        statement, which = ("ask_again", {"id": former.id if former else None}) if again else ("ask_of_past", {})
        (asked,) = connection.execute(self._sql[statement], {**words, **which}).fetchall()
        return self._now(connection, asked)

    def _past(self, connection: Connection, serial: str, former: Revocation | None, row: Row | None) -> Standing:
        found: Row = row or {"cert_id": former and former.cert_id, "not_after": former and former.not_after}
        kind = "ca"
        if row is None and former is not None:
            (known,) = connection.execute(self._sql["kind"], {"directory": former.directory}).fetchall()
            kind = known["kind"]
        return Standing(
            cert_id=CertId(found["cert_id"] or 0),
            enabled=False,
            left_out=None,
            step=None,
            serial=serial,
            not_after=found["not_after"],
            published=former is not None and former.copy is Copy.KEPT,
            kind=kind,
            former=former,
            past=True,
        )

    def _now(self, connection: Connection, asked: Row) -> Revocation:
        found = self._newest(connection, id=asked["id"])
        assert found is not None
        return found

    def _newest(self, connection: Connection, **wanted: object) -> Revocation | None:
        rows = connection.execute(self._sql["read"], {**ALL, **wanted}).fetchall()
        return _revocation(rows[-1]) if rows else None


def _revocation(row: Row) -> Revocation:
    return Revocation(**{**row, "state": Revoked(row["state"]), "copy": Copy(row["copy"])})
