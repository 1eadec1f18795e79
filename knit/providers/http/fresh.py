"""An API whose credential goes stale: a token of an hour, keys of a role."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from knit.ports.process import Clock
from knit.providers.http.api import Api

KEPT = timedelta(minutes=3)
"""For credentials of a vendor's library: it keeps them itself, and renews them more than this before their end."""


class Fresh:
    """Gives the API ready to be called; makes it anew when its credential may be stale. Safe between threads."""

    def __init__(self, clock: Clock, make: Callable[[], tuple[Api, timedelta]]) -> None:
        """`make` fetches a credential, and says for how long the API made with it is good."""
        self._clock = clock
        self._make = make
        self._kept: tuple[Api, datetime] | None = None
        self._lock = threading.Lock()

    def api(self) -> Api:
        """Raises what `make` raises: CredentialsRejected, Unreachable."""
        with self._lock:
            if self._kept is None or self._kept[1] <= self._clock():
                api, good = self._make()
                self._kept = api, self._clock() + good
            return self._kept[0]
