"""The port `CaRegister` over knit_ca_issued and knit_ca_crls."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from knit.core.ca_signing import CertTemplate, CrlEntry
from knit.core.model.certificate import CertId
from knit.core.names import key_of
from knit.errors import Refused
from knit.ports.ca_register import NextList
from knit.store.database import Database
from knit.store.queries import queries


class CaRegister:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("ca_register/ca_register")

    def record(self, directory: str, cert_id: CertId | None, plan: CertTemplate) -> CertTemplate:
        """See the port."""
        new = {
            "directory": directory,
            "serial": f"{plan.serial:x}",
            "cert_id": cert_id,
            "names_key": key_of(plan.names),
        }
        dates: dict[str, object] = {"not_before": plan.not_before, "not_after": plan.not_after}
        (row,) = self._database.rows(self._sql["record"], {**new, **dates})
        return replace(plan, not_before=row["not_before"], not_after=row["not_after"])

    def revoke(self, directory: str, serial: int, reason: str) -> datetime:
        """See the port."""
        asked = {"directory": directory, "serial": f"{serial:x}", "reason": reason}
        row = self._database.row(self._sql["revoke"], asked)
        if row is None:
            raise Refused(f"no certificate with serial number {serial:x} was issued by {directory}")
        at: datetime = row["revoked_at"]
        return at

    def next_crl(self, directory: str) -> NextList:
        """See the port."""
        rows = self._database.rows(self._sql["next_crl"], {"directory": directory})
        revoked = (
            CrlEntry(serial=int(row["serial"], 16), at=row["revoked_at"], reason=row["reason"])
            for row in rows
            if row["serial"] is not None
        )
        return NextList(rows[0]["number"], rows[0]["made_at"], tuple(revoked))
