"""Which installation this database is, what it found in Valkey that nothing explains, and keys declared compromised."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime

from knit.core.installation import Installation
from knit.core.model.certificate import CertId
from knit.store.database import Database
from knit.store.queries import Row, queries
from knit.store.rows import keys_from


class Installations:
    """The port `Home`: what is kept about the certificate Valkey of this database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries("publications/installation")

    def known(self) -> Installation:
        """This installation; the first call on a database gives it its id."""
        row = self._database.row(self._sql["known"]) or self._make()
        return Installation(id=row["id"], place=row["place"], revision=row["revision"])

    def _make(self) -> Row:
        return self._database.rows(self._sql["make"], {"new": secrets.token_hex(16)})[0]

    def settled(self, place: str, revision: int) -> None:
        """The Valkey at this place carries our id, and its change feed is at this revision."""
        self._database.write(self._sql["settled"], {"place": place, "revision": revision})

    def publishes(self) -> bool:
        """Whether anything counts as published."""
        return bool(self._database.rows(self._sql["publishes"])[0]["any"])

    def unexplained(self, tokens: Mapping[str, str]) -> Mapping[str, datetime]:
        """Exactly these keys hold values that nothing explains; since when each has."""
        told = {"keys": list(tokens), "tokens": list(tokens.values())}
        return {row["valkey_key"]: row["since"] for row in self._database.rows(self._sql["unexplained"], told)}

    def compromised(self) -> frozenset[str]:
        """Hashes of the public halves of keys that must not be published."""
        return self._keys("compromised")

    def without_fingerprint(self) -> frozenset[str]:
        """Valkey keys of published certificates whose key's hash is not recorded."""
        return self._keys("without_fingerprint")

    def record_fingerprints(self, by_sha256: Mapping[str, str]) -> None:
        """The hashes of the public halves, by the hash of the published pair."""
        told = {"sha256s": list(by_sha256), "fingerprints": list(by_sha256.values())}
        self._database.write(self._sql["record_fingerprints"], told)

    def compromise(self, cert_id: CertId) -> int:
        """Declare every key of this certificate compromised; gives how many are known. An open attempt is over."""
        return int(self._database.rows(self._sql["compromise"], {"id": cert_id})[0]["keys"])

    def _keys(self, statement: str) -> frozenset[str]:
        return keys_from(self._database.rows(self._sql[statement])[0]["keys"])
