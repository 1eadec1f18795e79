"""The issuers a process was configured with, by the name that certificates ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from knit.errors import Misconfigured
from knit.ports.issuing import Issuer


class Registry:
    """See ports.Issuers. Each is opened when it is first asked for; one that cannot be is tried again by the next."""

    def __init__(self, openers: Mapping[str, Callable[[], Issuer]]) -> None:
        self._openers = openers
        self._opened: dict[str, Issuer] = {}
        self._lock = threading.Lock()

    def issuer(self, name: str) -> Issuer:
        """Raises Misconfigured for a name that is not configured, and what opening it raises."""
        opener = self._openers.get(name)
        if opener is None:
            message = f"issuer {name!r} is not configured; configured: {', '.join(sorted(self._openers))}"
            raise Misconfigured(message)
        with self._lock:
            if name not in self._opened:
                self._opened[name] = opener()
            return self._opened[name]

    def close(self) -> None:
        """End what they keep open."""
        while self._opened:
            _, issuer = self._opened.popitem()
            issuer.close()
