"""How long to wait for the CA, and how often to ask: the library's own loops cost a second per certificate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from knit.errors import KnitError, Transient, Unreachable
from knit.issuers.acme.problems import Problem, ProblemReply, retry_at
from knit.issuers.acme.transport import Reply
from knit.ports.process import Clock, Sleep

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPace:
    """Seconds: the first wait, by how much each next one is longer, the longest, and all together at most.

    A CA that asks for more time than there is is asked once more all the same, after `once_more` seconds or at the end.
    0: it is not.
    """

    first: float
    growth: float = 2.0
    longest: float = 5.0
    total: float = 120.0
    once_more: float = 0.0


# A CA near by decides within a few milliseconds, a public one within seconds: soon, and then ever more rarely.
# The values that it looks for are removed when nobody waits any more, whatever it says to come back for.
VALIDATION: Final = PollPace(first=0.005, growth=3.0, once_more=120.0)
# Reading an order within 20 ms of its finalization is what locks Pebble up for good. It waits by itself, but a CA may
# ask for a day and be done within seconds.
ISSUANCE: Final = PollPace(first=0.02, once_more=10.0)
# An answer that should be there and is not: most CAs need a moment, and those that need a minute are asked again later.
ANSWER: Final = PollPace(first=0.5, total=8.0)

# Nobody waits for it.
GIVING_UP: Final = PollPace(first=0.0, total=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One wait for the CA's decision on `what`, with one end, however many things are looked at."""

    what: str
    pace: PollPace
    end: float
    poller: Poller

    def until(self, look: Callable[[], tuple[T, Reply]], done: Callable[[T], bool]) -> T:
        """Wait, look, and again, until `done`. The CA's Retry-After is honoured when it asks for a longer wait.

        Raises Unreachable, with the instant to look again, once waiting would pass the end.
        """
        wait, asked, last = self.pace.first, 0.0, False
        while True:
            last = self._pause(max(wait, asked), last=last)
            found, reply = look()
            if done(found):
                return found
            wait, asked = min(wait * self.pace.growth, self.pace.longest), self.poller.asked(reply)

    def insist(self, ask: Callable[[], T], passing: Callable[[Exception], bool]) -> T:
        """What `ask` gives; asked again after an error that `passing` says may pass, while there is time for it."""
        wait = self.pace.first
        while True:
            try:
                return ask()
            except (KnitError, ProblemReply) as error:
                pause = max(wait, self.poller.left(error))
                if not passing(error) or self.poller.monotonic() + pause > self.end:
                    raise
            self.poller.sleep(pause)
            wait = min(wait * self.pace.growth, self.pace.longest)

    def is_over(self) -> bool:
        """Whether its time has passed."""
        return self.poller.monotonic() > self.end

    def _pause(self, seconds: float, *, last: bool) -> bool:
        """Wait; whether the CA wants more time than there is, and one look is left. Raises Unreachable when none is."""
        left = max(self.end - self.poller.monotonic(), 0.0)
        is_over = seconds > left
        if is_over and (last or not self.pace.once_more):
            text = f"the CA has not decided on {self.what} yet; it will be asked again where it was left"
            raise Unreachable(text, retry_at=self.poller.clock() + timedelta(seconds=seconds))
        self.poller.sleep(min(left, self.pace.once_more) if is_over else seconds)
        return is_over


@dataclass(frozen=True, slots=True)
class Poller:
    """Waits on the monotonic clock; the wall clock only serves where the CA names an instant."""

    clock: Clock
    sleep: Sleep
    monotonic: Callable[[], float] = time.monotonic

    def begin(self, pace: PollPace, what: str) -> Waiting:
        """Start the time that this decision may take."""
        return Waiting(what=what, pace=pace, end=self.monotonic() + pace.total, poller=self)

    def asked(self, reply: Reply) -> float:
        """Seconds that the CA wants to be left alone for."""
        return self._until(retry_at(reply, self.clock()))

    def left(self, error: Exception) -> float:
        """The same, when the CA said so with an error."""
        told = error.problem if isinstance(error, ProblemReply) else error
        return self._until(told.retry_at if isinstance(told, Problem | Transient) else None)

    def _until(self, instant: datetime | None) -> float:
        return 0.0 if instant is None else (instant - self.clock()).total_seconds()
