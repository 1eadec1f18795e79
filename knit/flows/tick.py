"""One effective tick whenever a pass is due, however many schedulers run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from threading import RLock

from knit.core.agenda import Agenda, Errand, PassReason, errands, settled, why
from knit.errors import LeaseLost
from knit.ports.leases import Lease, Leases
from knit.ports.passes import Agendas

log = logging.getLogger(__name__)


class Ticker:
    """Asks for a pass while it holds the scheduler's lease. `look` is called every few seconds.

    A pass is due at the start, after each interval, at each planned instant, when a command has changed the list, and
    when the last one was not done. Changes that follow one another closely bring one pass. Taking the lease over asks
    for one at once: the former holder may have died just
    before it would have. One that could not be sent is due until it could.
    """

    def __init__(
        self,
        leases: Leases,
        agendas: Agendas,
        send: Callable[[], None],
        interval: timedelta,
        send_errand: Callable[[Errand], None] = lambda _: None,
    ) -> None:
        """`send` asks for a pass, `send_errand` for something else."""
        self._leases = leases
        self._agendas = agendas
        self._send = send
        self._send_errand = send_errand
        self._sent: dict[Errand, datetime] = {}
        self._interval = interval
        self._held = ExitStack()
        self._lease: Lease | None = None
        self._asked_at: datetime | None = None
        self._changing: datetime | None = None
        self._vain = 0
        self._wanted = False
        self._one_at_a_time = RLock()

    def look(self) -> None:
        """Take the lease if it is free, and ask for a pass if one is due. Raises Transient when that fails."""
        with self._one_at_a_time:
            if self._lease is not None:
                self._confirm(self._lease)
            if self._lease is None:
                self._take()
            if self._lease is not None:
                self._tick()

    def ask(self) -> None:
        """A pass is due with the next look. May be called wherever the process is."""
        self._wanted = True

    def close(self) -> None:
        """Give the lease back, so that another scheduler takes over at once."""
        with self._one_at_a_time:
            self._held.close()
            self._lease = None

    def _take(self) -> None:
        with ExitStack() as stack:
            self._lease = stack.enter_context(self._leases.hold("scheduler"))
            self._asked_at = None
            if self._lease is not None:
                self._held = stack.pop_all()

    def _confirm(self, lease: Lease) -> None:
        try:
            lease.check()
        except LeaseLost as error:
            log.warning("no longer the scheduler that asks for passes", extra={"reason": str(error)})
            self._held.close()
            self._lease = None

    def _tick(self) -> None:
        agenda = self._agendas.look(self._asked_at)
        for errand in errands(agenda, self._sent):
            self._send_errand(errand)
            self._sent[errand] = agenda.at
        reason = PassReason.ASKED if self._wanted else why(agenda, self._asked_at, self._interval, self._vain)
        if reason is None or (reason is PassReason.CHANGED and self._awaits_more(agenda)):
            return
        self._changing = None
        self._count(agenda, reason)
        self._agendas.announce(self._interval)
        self._send()
        self._asked_at, self._wanted = agenda.at, False
        log.debug("pass asked for", extra={"reason": reason.value})

    def _awaits_more(self, agenda: Agenda) -> bool:
        self._changing = self._changing or agenda.at
        return not settled(agenda, self._changing)

    def _count(self, agenda: Agenda, reason: PassReason) -> None:
        if self._asked_at is None or agenda.done_since(self._asked_at):
            self._vain = 0
        elif reason in {PassReason.LOST, PassReason.INTERVAL}:
            self._vain += 1
            asked = self._asked_at.isoformat(timespec="seconds")
            log.warning("no pass done; asking again: is worker-control running?", extra={"asked_for_at": asked})
