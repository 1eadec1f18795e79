"""DNS providers as the prover sees them: what each can do, and what is peculiar to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from knit.core.model.challenge import Challenge, Record
from knit.core.places import Allowed


class Solver(Protocol):
    """One DNS provider with one set of credentials: sets and removes TXT values, by exact value.

    `timeout` and `interval` (seconds) are how long and how often visibility is worth checking there, `ttl` the
    record's TTL in seconds. Setting a value that is there, and removing one that is not, are both done.
    Other values at the same name are never touched.
    """

    timeout: float
    interval: float
    ttl: int

    def present(self, record: Record) -> dict[str, str] | None:
        """Add the value; return what `cleanup` needs to know besides the record (kept in Postgres: no secrets)."""

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Remove exactly this value."""


class Solvers(Protocol):
    """Finds the solver for a provider as the user named it: `desec`, or `desec@west` for a second account."""

    def solver(self, provider: str) -> Solver:
        """Raises Misconfigured, naming the variable, when a credential is missing."""

    def code(self, provider: str) -> str:
        """The provider's code alone, aliases resolved. Raises Misconfigured for an unknown one."""


class Exclusive(Protocol):
    """Holds the named thing for one worker among all processes."""

    def __call__(self, name: str, *, patience: float | None = None, rest: float = 0.0) -> AbstractContextManager[None]:
        """Wait for its turn: Busy when that takes longer than `patience` seconds, or, without, than is sensible.

        Once it is given back, nobody gets it for `rest` seconds.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long (seconds) and how often (seconds) visibility is worth checking, and the record's TTL (seconds).

    `http` is how long (seconds) one call of the provider's API may take. `pause`: challenges are proved one after the
    other, so many seconds apart; None: all at once.
    """

    timeout: float
    interval: float
    ttl: int
    http: float = 30.0
    pause: float | None = None


class Paced:
    """Base of all solvers: carries the three figures that `ports.Solver` asks for, and `Timing.pause`.

    `allowed` are the places where it may write; `bound`: it can write only where its account was made for anyway.
    """

    allowed = Allowed(variable="")
    bound = False

    def __init__(self, timing: Timing) -> None:
        self.timeout = timing.timeout
        self.interval = timing.interval
        self.ttl = timing.ttl
        self.pause = timing.pause


class ReplacesWhole(ABC):
    """A solver whose API replaces more than one value at a time, so two writers would lose each other's values."""

    @abstractmethod
    def replaces(self, record: Record) -> str:
        """Name what is replaced (the record set's name, or the zone): one writer at a time may change it."""


class PerSet(ABC):
    """A solver that keeps something open from the first value set to the last one removed."""

    @abstractmethod
    def session(self) -> AbstractContextManager[Solver]:
        """The solver to use for one set of values, by the thread that opens it."""


def session(solver: Solver) -> AbstractContextManager[Solver]:
    """What to use for one set of values: the solver itself, or what it opens for a set."""
    return solver.session() if isinstance(solver, PerSet) else nullcontext(solver)


class Settles(ABC):
    """A solver whose provider says when all its servers have a change; a look at the DNS reaches only the nearest."""

    @abstractmethod
    def settle(self, states: Sequence[Mapping[str, str]]) -> None:
        """Wait for what `present` returned. What the DNS shows decides: running out of time is no error."""


class TakesTheName(ABC):
    """A solver that cannot remove one value and leave the others: a name is one certificate's, set to removed."""

    @abstractmethod
    def slot(self, record: Record) -> str:
        """Name the place that only one certificate can have."""


class HoldsOneValue(TakesTheName):
    """A solver whose provider can keep only one TXT value at a name: one challenge at a time, set to removed."""


class Delegation(Protocol):
    """Where a challenge name really lives, and who can see it: asked of the DNS itself."""

    def locate(self, challenge: Challenge) -> Record:
        """Follow CNAMEs from the challenge's name, then find the zone cut. Raises Transient or Refused."""

    def wait_visible(self, records: Sequence[Record], *, timeout: float, interval: float) -> None:
        """Return when every record is seen on every server that the settings say must show it.

        Raises NotVisible at the deadline (seconds, monotonic), naming which server answered what.
        """


class Prover(Protocol):
    """Proves control of names by DNS-01, in as few rounds as the DNS provider allows."""

    def rounds(self, challenges: Sequence[Challenge]) -> Sequence[Sequence[Challenge]]:
        """The challenges in groups that can be proved at the same time; usually all in one."""

    def having(self, lock: str) -> AbstractContextManager[None]:
        """Have what an earlier try met taken, before anything is asked of anybody; the round that needs it gets it.

        Raises Busy while it is another's.
        """

    def proving(self, challenges: Sequence[Challenge]) -> AbstractContextManager[None]:
        """Set all values, wait until all are visible, yield; remove them all by exact value on the way out."""
