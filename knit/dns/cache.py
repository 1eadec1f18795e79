"""What the searches of one process remember of the DNS for a minute: a zone's servers, and which of them are silent."""

from __future__ import annotations

import threading
import time

from knit.core.servers import Address, NameServers

_KEPT = 60.0
_MOST = 10_000


class DnsCache:
    """Safe to share between threads. Each of its two tables forgets everything once it holds 10,000 entries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._zones: dict[str, tuple[float, NameServers]] = {}
        self._silent: dict[Address, tuple[float, float]] = {}

    def servers(self, zone: str) -> NameServers | None:
        """What was kept for this zone within the last minute."""
        with self._lock:
            kept = self._zones.get(zone)
        return kept[1] if kept is not None and kept[0] + _KEPT > time.monotonic() else None

    def keep(self, zone: str, servers: NameServers) -> None:
        """These are the zone's servers."""
        with self._lock:
            if len(self._zones) >= _MOST:
                self._zones.clear()
            self._zones[zone] = (time.monotonic(), servers)

    def heard(self, server: Address, *, answered: bool) -> None:
        """It was asked, and has answered or not."""
        now = time.monotonic()
        with self._lock:
            if answered:
                self._silent.pop(server, None)
                return
            if len(self._silent) >= _MOST:
                self._silent.clear()
            first, last = self._silent.get(server, (now, now))
            self._silent[server] = (first if last + _KEPT > now else now, now)

    def silent_for(self, server: Address) -> float | None:
        """Seconds since the first of its last questions without an answer; None when the last one is long ago."""
        with self._lock:
            silent = self._silent.get(server)
        now = time.monotonic()
        return None if silent is None or silent[1] + _KEPT <= now else now - silent[0]
