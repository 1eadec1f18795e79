"""Copies of published values whose certificates are to be revoked: a CA is shown them after others took their place.

Beside staging, in the certificate Valkey, because private keys exist nowhere else in the centre.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from knit.core.model.revocation import RevocationId
from knit.ports.revoking import Copies
from knit.valkey.connect import Link
from knit.valkey.layout import Layout


class ValkeyCopies(Copies):
    """`Copies` on the certificate Valkey's primary. The server forgets each by itself when its certificate expires."""

    def __init__(self, link: Link, layout: Layout, installation: str) -> None:
        self._link = link
        self._layout = layout
        self._installation = installation

    def put(self, revocation: RevocationId, value: bytes, until: datetime) -> None:
        """See the port."""
        with self._link.talking() as client:
            client.set(self._name(revocation), value, exat=until)

    def get(self, revocation: RevocationId) -> bytes | None:
        """See the port."""
        with self._link.talking() as client:
            return cast("bytes | None", client.get(self._name(revocation)))

    def discard(self, revocation: RevocationId) -> None:
        """See the port."""
        with self._link.talking() as client:
            client.unlink(self._name(revocation))

    def _name(self, revocation: RevocationId) -> str:
        return self._layout.copy(revocation, self._installation)
