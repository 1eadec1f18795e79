"""Leases: rows on the database's clock, kept alive by one thread per process while they are held."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime

from knit.errors import KnitError, LeaseLost, Transient
from knit.ports.leases import Lease
from knit.store.database import Database
from knit.store.queries import Row, queries

log = logging.getLogger(__name__)

# A worker that is killed is found out within LIFETIME. REFRESH_EVERY leaves room for three refreshes that fail.
LIFETIME = 25.0
REFRESH_EVERY = 5.0
PARTING = 2.0
PLACE_TRIES = 3

# The lease of one thing lasts so many times longer than that of its process, and is seldom written.
ROWS = 4


class Pulse:
    """Until when the process's own lease, on which all others hang, is surely good."""

    def __init__(self) -> None:
        self._good_until = 0.0

    def extend(self, good_until: float) -> None:
        """The database has just given it more time."""
        self._good_until = good_until

    def is_felt(self, ahead: float = 0.0) -> bool:
        """Whether others must think that this process lives, for so many seconds more."""
        return time.monotonic() + ahead < self._good_until


class HeldLease:
    """A lease this process has taken. Its own clock only ever makes it doubt sooner than the database would."""

    def __init__(self, name: str, owner: str, epoch: int, at: datetime, pulse: Pulse) -> None:
        self.name = name
        self.owner = owner
        self.epoch = epoch
        self.at = at
        self._pulse = pulse
        self._lost = False

    def check(self) -> None:
        """Raise LeaseLost when another owner has it, or may have it by now."""
        if self._lost:
            message = f"the lease {self.name} has passed to another worker"
            raise LeaseLost(message)
        if not self._pulse.is_felt():
            message = f"the lease {self.name} may have passed to another worker: PostgreSQL was not reached in time"
            raise LeaseLost(message)

    def lose(self) -> None:
        """The database says it is another's."""
        self._lost = True


class Leases:
    """The port over knit_leases. Lives in one process, after any fork; `stop` ends its thread."""

    def __init__(self, database: Database, *, lifetime: float = LIFETIME, refresh_every: float = REFRESH_EVERY) -> None:
        self._database = database
        self._lifetime = lifetime
        self._refresh_every = refresh_every
        self._process = f"process:{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._pulse = Pulse()
        self._sql = queries("leases/leases")
        self._takings = itertools.count()
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int], HeldLease] = {}
        self._owed: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, name: str, *, rest: float = 0.0) -> Iterator[HeldLease | None]:
        """Take the lease, or give None at once while another owner holds it, or while it rests. Released on exit.

        Then nobody gets it for `rest` seconds.
        """
        with self.reading(name, self._sql["take"], {"cert": None}, rest=rest) as (lease, _):
            yield lease

    @contextmanager
    def place(self, kind: str, most: int) -> Iterator[HeldLease | None]:
        """Take one of so many leases of a kind, or give None at once while others hold them all. Released on exit."""
        with ExitStack() as held:
            yield self._vacant(kind, most, held)

    def _vacant(self, kind: str, most: int, held: ExitStack) -> HeldLease | None:
        """Another may be quicker: then it is one of the others, if there is one."""
        for _ in range(PLACE_TRIES):
            found = self._database.row(self._sql["vacant"], {"kind": f"place:{kind}:", "most": most})
            if found is None:
                return None
            lease = held.enter_context(self.hold(str(found["name"])))
            if lease is not None:
                return lease
        return None

    @contextmanager
    def reading(
        self, name: str, statement: str, parameters: Mapping[str, object], *, rest: float = 0.0
    ) -> Iterator[tuple[HeldLease | None, Row | None]]:
        """As `hold`, by a statement that reads something along with it: given beside the lease."""
        lease, row = self._take(name, statement, parameters)
        try:
            yield lease, row
        finally:
            if lease is not None:
                self._release(lease, rest)

    def stop(self) -> None:
        """End the thread, without waiting for a Postgres that does not answer. Leases still held expire."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(PARTING)
            if not self._held:
                with suppress(KnitError):
                    self._database.write(self._sql["part"], {"process": self._process})

    def _take(self, name: str, statement: str, parameters: Mapping[str, object]) -> tuple[HeldLease | None, Row | None]:
        self._give_back_owed()
        if not self._pulse.is_felt(self._lifetime / 2):
            self._refresh()
        # One owner per taking, not per process: two threads of one process exclude each other too.
        owner = f"{self._process}:{next(self._takings)}"
        wanted = {
            "name": name,
            "owner": owner,
            "process": self._process,
            "seconds": ROWS * self._lifetime,
            **parameters,
        }
        try:
            row = self._database.row(statement, wanted)
        except KnitError:
            # Taken nevertheless, perhaps: only the answer is known to be lost.
            self._owe(name, owner)
            raise
        if row is None or row["epoch"] is None:
            return None, row
        lease = HeldLease(name, owner, row["epoch"], row["at"], self._pulse)
        with self._lock:
            self._held[name, lease.epoch] = lease
            self._ensure_thread()
        return lease, row

    def given_back(self, lease: Lease) -> bool:
        """The last statement written under it has given it back. False when that is not the first time it is said."""
        with self._lock:
            return self._held.pop((lease.name, lease.epoch), None) is not None

    def _release(self, lease: HeldLease, rest: float) -> None:
        if not self.given_back(lease):
            return
        try:
            self._database.write(self._sql["release"], {"name": lease.name, "epoch": lease.epoch, "rest": rest})
        except KnitError:
            # Raised, it would hide how the work under the lease ended.
            self._owe(lease.name, lease.owner)

    def _owe(self, name: str, owner: str) -> None:
        """To be given back as soon as Postgres is there: this process lives, so its leases would last."""
        with self._lock:
            self._owed[owner] = name
            self._ensure_thread()

    def _give_back_owed(self) -> None:
        owed = dict(self._owed)
        if not owed:
            return
        self._database.write(self._sql["give_back"], {"names": list(owed.values()), "owners": list(owed)})
        with self._lock:
            for owner in owed:
                self._owed.pop(owner, None)

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._keep_alive, name="knit-leases", daemon=True)
            self._thread.start()

    def _keep_alive(self) -> None:
        while not self._stopping.wait(self._refresh_every):
            try:
                self._give_back_owed()
                if self._held:
                    self._refresh()
            except Transient as e:
                # Whoever works under one of them meets the same outage, and says so.
                log.debug("leases not refreshed", extra={"error": str(e)})
            except KnitError as e:
                log.error("leases not refreshed", extra={"error": str(e)})  # noqa: TRY400 -- no trace: it may come every 5 s

    def _refresh(self) -> None:
        with self._lock:
            held = dict(self._held)
        good_until = time.monotonic() + self._lifetime
        kept = self._kept(list(held))
        self._pulse.extend(good_until)
        for key, lease in held.items():
            if key not in kept and key in self._held:  # and not given back by ourselves while Postgres was asked
                lease.lose()
                log.warning("lease lost", extra={"lease": lease.name, "epoch": lease.epoch})

    def _kept(self, held: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        asked = {
            "process": self._process,
            "lifetime": self._lifetime,
            "seconds": ROWS * self._lifetime,
            "names": [name for name, _ in held],
            "epochs": [epoch for _, epoch in held],
        }
        return {(row["name"], row["epoch"]) for row in self._database.rows(self._sql["refresh"], asked)}
