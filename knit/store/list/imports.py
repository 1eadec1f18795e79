"""The port `Imports`: an import is an attempt of its own that orders nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from knit.core.brought import Brought
from knit.core.imported import IMPORTED, REASON
from knit.core.model.attempt import AttemptId, Step
from knit.core.model.certificate import CertId
from knit.core.wanted import Edited, Wanted
from knit.errors import LeaseLost, NoSuchCertificate
from knit.store.connection import Connection
from knit.store.database import Database
from knit.store.list.certs import Certs
from knit.store.queries import queries


class Imports:
    """Writes the list as `Certs` does."""

    def __init__(self, database: Database, certs: Certs) -> None:
        self._database = database
        self._certs = certs
        self._sql = queries("list/imports")

    def imported(self, which: CertId | Sequence[str]) -> tuple[str, str] | None:
        """See the port."""
        with suppress(NoSuchCertificate):
            cert_id = which if isinstance(which, int) else self._certs.find(which)
            row = self._database.row(self._sql["imported"], {"id": cert_id})
            return None if row is None else (row["valkey_key"], row["sha256"])
        return None

    def begin(
        self, which: CertId | Sequence[str], decide: Callable[[Wanted | None], Wanted], brought: Brought
    ) -> tuple[Edited, AttemptId]:
        """See the port."""
        self._certs.adopt()
        return self._database.together(lambda connection: self._begun(connection, which, decide, brought))

    def _begun(
        self,
        connection: Connection,
        which: CertId | Sequence[str],
        decide: Callable[[Wanted | None], Wanted],
        brought: Brought,
    ) -> tuple[Edited, AttemptId]:
        edited = self._certs.edited(connection, which, decide, enable=True)
        wanted = {
            "cert_id": edited.id,
            "reason": REASON,
            "names": list(edited.after.names),
            "provider": edited.after.provider,
            "issuer": IMPORTED,
            "key_type": brought.key_type.value,
            "spki_sha256": brought.leaf.spki_sha256,
        }
        connection.execute(self._sql["end"], wanted)
        (row,) = connection.execute(self._sql["begin"], wanted).fetchall()
        return edited, AttemptId(row["id"])

    def hand_over(self, attempt: AttemptId, brought: Brought, sha256: str) -> None:
        """See the port."""
        facts = {name: getattr(brought.leaf, name) for name in ("serial", "not_before", "not_after")}
        if self._database.row(self._sql["hand_over"], {"id": attempt, **facts, "sha256": sha256}) is None:
            message = "another command has changed this certificate meanwhile, or imports another one for it"
            raise LeaseLost(message)

    def ended(self, attempt: AttemptId) -> tuple[Step, str | None] | None:
        """See the port."""
        row = self._database.row(self._sql["ended"], {"id": attempt})
        return None if row is None else (Step(row["step"]), row["error"])
