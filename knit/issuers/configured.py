"""The issuers a process was configured with, by the name that certificates ask for."""

from __future__ import annotations

from collections.abc import Iterable

from knit.errors import Misconfigured
from knit.ports.issuing import Issuer


class Registry:
    """See ports.Issuers."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}

    def issuer(self, name: str) -> Issuer:
        """Raises Misconfigured for a name that is not configured."""
        try:
            return self._issuers[name]
        except KeyError:
            message = f"issuer {name!r} is not configured; configured: {', '.join(sorted(self._issuers))}"
            raise Misconfigured(message) from None
