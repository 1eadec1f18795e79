"""The database's clock: what is decided must not depend on the host that happens to decide."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

from knit.store.database import Database

GOOD_FOR = 30.0


class ServerClock:
    """The port `Clock`. It asks now and then; in between it adds the time that has passed here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._asked: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """The current time, UTC. Raises Transient when the database cannot be asked."""
        with self._lock:
            began = time.monotonic()
            if self._asked is None or began - self._asked[1] > GOOD_FOR:
                self._asked = self._database.rows("select clock_timestamp() as at")[0]["at"], began
            at, then = self._asked
            return at + timedelta(seconds=time.monotonic() - then)
