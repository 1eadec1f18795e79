"""The port ServedBook: what is asked of the record of nodes and of what they serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from knit.core.model.certificate import CertId
from knit.core.model.deployed import Deployed, Failure, Step
from knit.core.model.node import Node, Reached
from knit.core.served import Behind, Current, Spread, standing
from knit.store.database import Database
from knit.store.queries import Row, queries

NODES = 100_000
"""Nodes of one certificate that are looked at."""

ROWS = 50
"""Nodes that are behind, for each certificate that is shown with them, on the average."""

CURRENT = ("cert_id", "names", "key", "issued_at", "published_at", "generation", "serial", "not_after")
SAME = (
    *("key", "place", "name", "cert_id", "generation", "serial", "fingerprint", "not_after", "published_at"),
    *("written_at", "reloaded_at", "served_at", "served_on", "probed", "waits", "orphaned"),
)


class ServedBook:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("served/book")

    def nodes(self) -> Sequence[Node]:
        """See the port."""
        return [Node(**row) for row in self._database.rows(self._sql["nodes"])]

    def forget(self, name: str) -> bool:
        """See the port."""
        return bool(self._database.write(self._sql["forget"], {"name": name}))

    def spreads(self, cert_id: CertId | None = None, *, most: int) -> Sequence[Spread]:
        """See the port."""
        rows = self._database.rows(self._sql["spreads"], {"cert_id": cert_id})
        current = {row["cert_id"]: Current(**{name: row[name] for name in CURRENT}) for row in rows}
        lacking = [row["cert_id"] for row in rows if row["fine"] < row["nodes"]][:most]
        behind = self._on_nodes(current, lacking, fine_too=False, most=ROWS * most) if lacking else {}
        return [
            Spread(
                current=current[row["cert_id"]],
                nodes=row["nodes"],
                fine=row["fine"],
                since=row["since"],
                behind=behind.get(row["cert_id"], ()),
            )
            for row in rows
        ]

    def on_nodes(self, cert_id: CertId) -> Sequence[Behind]:
        """See the port."""
        rows = self._database.rows(self._sql["spreads"], {"cert_id": cert_id})
        current = {row["cert_id"]: Current(**{name: row[name] for name in CURRENT}) for row in rows}
        return self._on_nodes(current, [cert_id], fine_too=True, most=NODES).get(cert_id, ())

    def history(self, cert_id: CertId) -> Sequence[Reached]:
        """See the port."""
        rows = self._database.rows(self._sql["history"], {"cert_id": cert_id, "most": NODES})
        return [Reached(**row) for row in rows]

    def _on_nodes(
        self, current: Mapping[CertId, Current], ids: Sequence[CertId], *, fine_too: bool, most: int
    ) -> Mapping[CertId, Sequence[Behind]]:
        found: dict[CertId, list[Behind]] = {}
        asked = {"ids": list(ids), "all": fine_too, "most": most}
        for row in self._database.rows(self._sql["on_nodes"], asked):
            wanted = current.get(row["wanted_by"])
            if wanted is not None:
                here = _deployed(row)
                how = standing(here, wanted, silent=row["silent"])
                found.setdefault(wanted.cert_id, []).append(Behind(node=row["node"], standing=how, here=here))
        return found


def _deployed(row: Row) -> Deployed:
    return Deployed(**{name: row[name] for name in SAME}, failure=_failure(row))


def _failure(row: Row) -> Failure | None:
    if row["failed_at"] is None:
        return None
    return Failure(
        step=Step(row["failed_step"]),
        error=row["failed_error"],
        output=row["failed_output"] or "",
        at=row["failed_at"],
        next_try=row["next_try"],
        rolled_back=row["rolled_back"],
        generation=row["failed_generation"],
    )
