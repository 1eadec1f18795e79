"""The list of what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from knit.core.model.certificate import CertId
from knit.core.model.listing import Listed, Try
from knit.core.wanted import Edited, Wanted


class CertList(Protocol):
    """The list of what is wanted, as whoever edits it sees it."""

    def edit(self, which: CertId | Sequence[str], decide: Callable[[Wanted | None], Wanted], *, enable: bool) -> Edited:
        """Find the entry by its id or its exact set of names, ask `decide` what it shall be, and store that.

        Nobody else edits the list meanwhile. `decide` gets None when no entry has these names; one is made then.
        Raises what `decide` raises, Misconfigured when names, key or files belong to another certificate, and
        NoSuchCertificate for an id that is not there; nothing is changed then.
        """


class Certs(CertList, Protocol):
    """The list as somebody at a shell looks at it and changes it. What names an id raises NoSuchCertificate."""

    def remove(self, cert_id: CertId) -> None:
        """Take it off the list; the next pass prunes what was published."""

    def switch(self, cert_id: CertId, *, enabled: bool) -> None:
        """Enable or disable. What a disabled certificate has published is pruned by the next pass."""

    def request_renewal(self, cert_id: CertId) -> None:
        """Make it due now, whatever failed before."""

    def find(self, domains: Sequence[str]) -> CertId:
        """The certificate with exactly this set of names, in any order. Raises NoSuchCertificate."""

    def one(self, cert_id: CertId) -> Listed:
        """The certificate with this id."""

    def listing(self) -> Sequence[Listed]:
        """All certificates, by id."""

    def tries(self, cert_id: CertId) -> Sequence[Try]:
        """The newest attempts of a certificate, the last one first."""

    def astray(self) -> int:
        """How many enabled certificates are not as wanted: not published as asked for, or failing."""
