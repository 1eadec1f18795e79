"""Pairs as Valkey publishes them, read as a node reads them; nothing of them is written anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from threading import Event

from knit.core.value import Value
from knit.errors import Elsewhere, KnitError, Refused
from knit.tls.pairs import Pair
from knit.valkey.hints import Hints
from knit.valkey.layout import Layout
from knit.valkey.reader import ValkeyReader
from knit.valkey.site import Site

CHUNK = 50
SWEEP = 600.0
"""Seconds between two looks at everything, for publishers that write no change feed."""

STEP = 1.0
"""Seconds after which a wait looks whether it is to end."""

GAP = 0.5
"""Seconds between a hint and its look: one look answers all hints that come meanwhile, and a flood of them."""

RETRY = 5.0
"""Seconds until hints are asked for again, after they could not be had."""


class Published:
    """All pairs of the index. A value that is missing, broken or older than the one before does not take its place."""

    def __init__(self, url: str, index_key: str, check: Callable[[Pair], None]) -> None:
        """`check` is as for a folder. Raises Misconfigured for a bad URL."""
        site, layout = Site.of(url, name="knit-tls", setting="the URL of Valkey"), Layout(index=index_key)
        self._reader = ValkeyReader(site, layout)
        self._hints = Hints(site, layout)
        self._check = check
        self._revision: int | None = None
        self._sweep_at = 0.0
        self._generations: dict[str, tuple[int, int]] = {}
        self.pairs: dict[str, Pair] = {}
        self.complaints: dict[str, str] = {}

    def look(self) -> bool:
        """Look at what has changed; whether anything has. Raises what the reader raises; then the next repeats it."""
        revision = self._reader.revision()
        sweep = self._lost_the_thread(revision)
        if not sweep and revision == self._revision and not self.complaints:
            return False
        changed = set() if sweep else self._changes(revision)
        # Also where no value has changed: a key that is withdrawn is in no feed.
        index = self._reader.index()
        if not index and self.pairs:
            self.complaints = {"the index": "nothing is published, keeping what was"}
            return True
        self._forget(index)
        self._take(sorted(index if sweep else changed & index))
        self._revision = revision
        self._sweep_at = time.monotonic() + SWEEP if sweep else self._sweep_at
        return True

    def wait(self, seconds: float, stop: Event) -> None:
        """Until it is time for another look, or something is published."""
        until = time.monotonic() + seconds
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            try:
                if self._hints.wait(min(left, STEP)):
                    stop.wait(GAP)
                    self._hints.drain()
                    break
            except KnitError:
                # Only sooner or later depends on hints; the next look tells whether Valkey can be reached.
                self._hints.close()
                stop.wait(min(left, RETRY))

    def close(self) -> None:
        """Give the connections up."""
        self._hints.close()
        self._reader.close()

    def _lost_the_thread(self, revision: int | None) -> bool:
        """Whether the change feed cannot tell what has changed since the last look."""
        before = self._revision
        behind = revision is None or before is None or revision < before
        return behind or time.monotonic() >= self._sweep_at

    def _changes(self, revision: int | None) -> set[str]:
        """Keys that have changed, and those that were not taken."""
        since = self._revision
        changed = set() if since is None or revision == since else self._reader.changed(since)
        return changed | self.complaints.keys()

    def _forget(self, index: Collection[str]) -> None:
        for kept in (self.pairs, self.complaints, self._generations):
            for key in kept.keys() - index:
                del kept[key]

    def _take(self, keys: list[str]) -> None:
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            values = self._reader.values(chunk)
            for key in chunk:
                try:
                    self._consider(key, values.get(key))
                    self.complaints.pop(key, None)
                except Elsewhere:
                    self.complaints.pop(key, None)
                except KnitError as error:
                    self.complaints[key] = str(error)

    def _consider(self, key: str, raw: bytes | KnitError | None) -> None:
        if raw is None:
            raise Refused("its published value is missing")
        if isinstance(raw, KnitError):
            raise raw
        value = Value.from_wire(raw)
        value.verify()
        before = self.pairs.get(key)
        if before is None or before.bundle != value.bundle:
            self._refuse_older(key, value)
            pair = Pair.of(key, value.bundle)
            if before is not None:
                self._check(pair)
            self.pairs[key] = pair
        if value.mark is not None and value.generation_by(datetime.now(UTC)) is not None:
            self._generations[key] = (value.mark.cert_id, value.mark.generation)

    def _refuse_older(self, key: str, value: Value) -> None:
        """A replica that lags or was restored brings no old pair back."""
        known, mark = self._generations.get(key), value.mark
        if known is not None and mark is not None and mark.cert_id == known[0] and mark.generation < known[1]:
            raise Refused(f"generation {mark.generation} is older than generation {known[1]}, which is in use")
