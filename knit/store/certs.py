"""The list of certificates as the command line sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from knit.core.names import key_of, normalise, split
from knit.errors import Misconfigured, NoSuchCertificate
from knit.store.database import Connection, Database
from knit.store.queries import Row, queries

if TYPE_CHECKING:
    # A tenth of the time of `knit list` would be spent on making the model's classes, and it needs none of them.
    from knit.core.model import CertId, KeyType
    from knit.store.adoption import Reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCert:
    """A certificate as asked for with `knit add`; `names` as typed."""

    names: tuple[str, ...]
    provider: str
    valkey_key: str
    cert_path: str
    key_path: str
    key_type: KeyType
    issuer: str = "acme"
    profile: str | None = None
    preferred_chain: str | None = None
    renew_before: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What `add` did. `names` are normalised."""

    id: CertId
    names: tuple[str, ...]
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of `knit list`. `adopted` is False for a row left out of passes; `step` is its open attempt's."""

    id: CertId
    enabled: bool
    domains: str
    adopted: bool
    provider: str
    valkey_key: str
    cert_path: str
    key_path: str
    not_after: datetime | None
    last_renewed: datetime | None
    last_error: str | None
    issuer: str
    key_type: str
    profile: str | None
    preferred_chain: str | None
    renew_before: timedelta | None
    requested_at: datetime | None
    published_at: datetime | None
    step: str | None
    failures: int
    retry_at: datetime | None
    check_at: datetime | None


class Certs:
    """What the command line does to the list. `reserved` says which Valkey keys knit uses itself."""

    def __init__(self, database: Database, reserved: Reserved) -> None:
        self._database = database
        self._reserved = reserved
        self._sql = queries("certs")

    def add(self, new: NewCert) -> Added:
        """Insert the certificate, or change the one with the same set of names; enables it, lifts a tombstone.

        Raises Misconfigured when a name, key or path is bad or belongs to another certificate.
        """
        from knit.store.adoption import Adopter, check_place  # It needs the model: see above.

        names = normalise(new.names)
        row = {
            **asdict(new),
            "domains": ",".join(names),
            "names_key": key_of(names),
            "names": list(names),
            "key_type": new.key_type.value,
        }
        check_place(row, self._reserved)
        check_paths(new)
        with self._database.transaction() as connection:
            adopter = Adopter(connection=connection, reserved=self._reserved)
            adopter.run()
            adopter.lock()
            existing = self._find(connection, row["names_key"])
            row["id"] = existing or 0
            if why := adopter.clash(row):
                raise Misconfigured(why)
            cert_id = connection.execute(self._sql["update" if existing else "insert"], row).fetchall()[0]["id"]
            connection.execute(self._sql["forget_tombstone"], row)
        return Added(id=cast("CertId", cert_id), names=names, created=existing is None)

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
        with self._database.transaction() as connection:
            found = self._find(connection, key_of(names))
        if found is None:
            message = f"no certificate for {','.join(names)}"
            raise NoSuchCertificate(message)
        return found

    def listing(self) -> Sequence[Listed]:
        """All certificates, by id."""
        return tuple(_listed(row) for row in self._database.rows(self._sql["listing"], {"id": None}))

    def one(self, cert_id: CertId) -> Listed:
        """One certificate as the list shows it. Raises NoSuchCertificate."""
        row = self._database.row(self._sql["listing"], {"id": cert_id})
        if row is None:
            raise _unknown(cert_id)
        return _listed(row)

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


def check_paths(new: NewCert) -> None:
    """Raise Misconfigured for a path that no node would write: relative, or with `..` in it."""
    for field, text in (("cert_path", new.cert_path), ("key_path", new.key_path)):
        path = PurePosixPath(text)
        if not path.is_absolute() or ".." in path.parts or text.endswith("/"):
            message = f"{field} {text} must be an absolute path of a file, without '..'"
            raise Misconfigured(message)


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
