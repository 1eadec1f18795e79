"""What this process still owes the queue: messages for later, and those that a queue which was away did not take."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import dramatiq

from knit.core import retry
from knit.errors import KnitError
from knit.outages import Outages
from knit.queue.base import Queue
from knit.queue.messages import Message

log = logging.getLogger(__name__)

AT_ONCE = timedelta(0)
LONGEST_PAUSE = timedelta(seconds=30)
"""Between two looks at a queue that is away: each costs one message."""

MOST = 50_000
"""Messages owed at a time. What comes on top is found by a pass."""

Owed = tuple[float, Message]


class Later(dramatiq.Middleware):
    """Sends messages now or later, and none of them is lost to a queue that is away for a while.

    Dramatiq's own delayed messages are forgotten by a consumer whose connection breaks, so the waiting is done here.
    Of several messages about the same thing the earliest is sent, and stands for all. A worker that stops sends at
    once what it owes; what a killed one owed is found by the scheduler or by the next pass.
    """

    def __init__(self, queue: Queue, outages: Outages) -> None:
        self._queue = queue
        self._outages = outages
        self._change = threading.Condition()
        self._owed: dict[tuple[object, ...], Owed] = {}
        self._on_its_way = False
        self._vain = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def send(self, message: Message, *, delay: timedelta = AT_ONCE) -> float:
        """Put the message on its queue after `delay`, or as soon after that as the queue takes it.

        Gives the instant (monotonic seconds) from which on it, or the one that stands for it, may be sent.
        """
        at = time.monotonic() + max(delay, AT_ONCE).total_seconds()
        if (delay <= AT_ONCE or self._stopping) and not self._vain and self._send(message):
            return at
        with self._change:
            self._ensure_thread()
            return self._owe((at, message))

    @property
    def owing(self) -> int:
        """How many messages are owed."""
        return len(self._owed)

    def settle(self) -> bool:
        """Wait until nothing is owed; gives whether there was anything to wait for."""
        with self._change:
            waited = self._is_owing()
            self._change.wait_for(lambda: not self._is_owing() or self._stopping)
            return waited and not self._stopping

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Other workers get at once what is owed: nobody here is going to wait for its time."""
        with self._change:
            self._stopping = True
            owed, self._owed = list(self._owed.values()), {}
            self._change.notify_all()
        unsent = 0
        for _, message in owed:
            unsent += bool(unsent) or not self._send(message)
        if unsent:
            log.warning("messages not sent: a pass finds what they were about", extra={"messages": unsent})

    def _owe(self, owed: Owed) -> float:
        known = self._owed.get(_about(owed[1]))
        if known is not None and known[0] <= owed[0]:
            return known[0]
        if len(self._owed) < MOST:
            self._owed[_about(owed[1])] = owed
        self._change.notify_all()
        return owed[0]

    def _is_owing(self) -> bool:
        return bool(self._owed) or self._on_its_way

    def _ensure_thread(self) -> None:
        # One for good: a queue may keep a connection for each thread that ever sent something.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._send_forever, name="knit-later", daemon=True)
            self._thread.start()

    def _send_forever(self) -> None:
        while (due := self._due()) is not None:
            for owed in due:
                if not self._send_off(owed):
                    break

    def _send_off(self, owed: Owed) -> bool:
        """Send what is owed, unless it is owed no longer; what the queue does not take is owed again.

        It is taken out before that: what happens from now on is not covered by a message that is on its way already.
        """
        about = _about(owed[1])
        with self._change:
            if self._owed.get(about) is not owed:
                return True
            del self._owed[about]
            self._on_its_way = True
        done = self._send(owed[1])
        with self._change:
            self._on_its_way = False
            if not done:
                self._owe(owed)
            self._change.notify_all()
        return done

    def _due(self) -> list[Owed] | None:
        """What is to be sent now, once there is something; None when the process stops."""
        with self._change:
            self._change.wait_for(lambda: self._stopping, timeout=self._pause().total_seconds())
            while not self._stopping:
                now = time.monotonic()
                due = sorted((owed for owed in self._owed.values() if owed[0] <= now), key=lambda owed: owed[0])
                if due:
                    return due
                first = min((at for at, _ in self._owed.values()), default=None)
                self._change.wait(None if first is None else first - now)
        return None

    def _pause(self) -> timedelta:
        return min(retry.again(self._vain - 1), LONGEST_PAUSE) if self._vain else AT_ONCE

    def _send(self, message: Message) -> bool:
        try:
            self._queue.send(message)
        except KnitError as error:
            self._vain += 1
            self._outages.gone("queue", error, kept="messages are kept here", again=self._pause())
            return False
        self._vain = 0
        self._outages.back("queue")
        return True


def _about(message: Message) -> tuple[object, ...]:
    """What a message is about: one certificate, or all of them. Every `publish(id)` publishes all that waits."""
    match message.args:
        case (int(cert_id), *_) if message.actor_name == "renew":
            return message.actor_name, cert_id
        case (None, *_):
            return message.actor_name, None
    return (message.actor_name,)
