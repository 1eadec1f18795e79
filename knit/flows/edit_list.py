"""Changing the list of certificates: the one way in, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from knit.core.model.certificate import CertId, names_in
from knit.core.names import normalise
from knit.core.wanted import NOT_ORDERED, Change, Edited, ListRules, Wanted, applied, as_imported, judged
from knit.errors import Misconfigured
from knit.ports.list import CertList

PLACES = {"valkey_key": "--valkey-key", "cert_path": "--cert-path", "key_path": "--key-path"}
NEW = "no certificate on the list has exactly the names {names}: a new one needs {missing}; --id N takes one's place"
UNPROVABLE = "provider none: {issuer} asks for proofs of names: name your DNS provider with --provider"


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
        if missing := [said for name, said in PLACES.items() if not getattr(after, name)]:
            raise Misconfigured(NEW.format(names=", ".join(after.names), missing=", ".join(missing)))
        return judged(after, self.allowed, standing=before, imported=True)

    def _decided(self, change: Change, before: Wanted | None) -> Wanted:
        after = judged(applied(change, before), self.allowed, standing=before)
        if before is None or (after.provider, after.issuer) != (before.provider, before.issuer):
            self.known(after.provider)
            first = next(iter(names_in(after.issuer)), "")
            if after.provider == NOT_ORDERED["provider"] and first in self.allowed.proving:
                raise Misconfigured(UNPROVABLE.format(issuer=first or "the default issuer"))
        return after
