"""Changing the list of certificates: the one way in, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from knit.core.model.certificate import CertId
from knit.core.names import normalise
from knit.core.wanted import Change, Edited, ListRules, Wanted, applied, as_imported, judged
from knit.errors import Misconfigured
from knit.ports.list import CertList


@dataclass(frozen=True, slots=True, kw_only=True)
class EditList:
    """The flow with its port. `known` raises Misconfigured for a DNS provider that nobody serves."""

    store: CertList
    known: Callable[[str], object]
    allowed: ListRules

    def add(self, change: Change) -> Edited:
        """Put a certificate on the list, or change the one with the same set of names, and enable it.

        What is not said of one that is there stays as it is. Raises Misconfigured.
        """
        if change.names is None:
            raise Misconfigured("at least one domain name is needed")
        return self.store.edit(normalise(change.names), lambda before: self._decided(change, before), enable=True)

    def change(self, cert_id: CertId, change: Change) -> Edited:
        """Change what is said, and nothing else. Raises Misconfigured, NoSuchCertificate."""
        return self.store.edit(cert_id, lambda before: self._decided(change, before), enable=False)

    def imported(self, change: Change, before: Wanted | None) -> Wanted:
        """What an entry becomes by the import of its certificate. Raises Misconfigured."""
        after = as_imported(applied(change, before))
        if missing := [name for name in ("valkey_key", "cert_path", "key_path") if not getattr(after, name)]:
            raise Misconfigured(f"{', '.join(missing)}: needed for a certificate that is new on the list")
        return judged(after, self.allowed, standing=before, imported=True)

    def _decided(self, change: Change, before: Wanted | None) -> Wanted:
        after = judged(applied(change, before), self.allowed, standing=before)
        if before is None or after.provider != before.provider:
            self.known(after.provider)
        return after
