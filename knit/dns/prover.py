"""Proves control of names by DNS-01 (RFC 8555 section 8.4): implements ports.Prover over one solver.

The journal knows of a record before it is set and until it is removed, so whatever kills this process, `sweep` finds
what is left on the next pass.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest

from knit.core.model.challenge import Challenge, ChallengeId, Leftover, Record
from knit.core.places import Allowed, explained, is_odd
from knit.dns.pauses import Pauses
from knit.errors import Busy, KnitError, LeaseLost, Refused
from knit.ports.journal import Journal
from knit.ports.solving import (
    Delegation,
    Exclusive,
    HoldsOneValue,
    Paced,
    ReplacesWhole,
    Settles,
    Solver,
    Solvers,
    TakesTheName,
    session,
)

log = logging.getLogger(__name__)

AT_ONCE = 0.0
"""Seconds for which a thread waits for what another certificate has: its message waits instead."""

SLOT = "dns slot "
"""How locks are called that are held from setting to removal."""

Removed = Callable[[ChallengeId], None]
"""Tells the journal that a leftover is gone."""


class SaidOnce:
    """What has been said once in this process."""

    def __init__(self) -> None:
        self._said: set[Hashable] = set()
        self._lock = threading.Lock()

    def is_new(self, what: Hashable) -> bool:
        """Whether it has not been asked about before."""
        with self._lock:
            known = what in self._said
            self._said.add(what)
        return not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a prover needs besides its solver and journal. `exclusive` keeps writers of one record set apart."""

    delegation: Delegation
    exclusive: Exclusive
    pauses: Pauses = field(default_factory=lambda: Pauses(time.sleep))
    odd: SaidOnce = field(default_factory=SaidOnce)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    record: Record
    id: ChallengeId
    state: dict[str, str] | None


class Dns01:
    """One attempt's prover. `code` is the provider's canonical code: it names the locks."""

    def __init__(self, code: str, solver: Solver, journal: Journal, shared: Shared) -> None:
        self._code = code
        self._solver = solver
        self._journal = journal
        self._shared = shared
        self._ahead: dict[str, ExitStack] = {}

    @contextmanager
    def having(self, lock: str) -> Iterator[None]:
        """See ports.Prover."""
        with ExitStack() as ahead:
            self._hold(ahead, lock)
            self._ahead[lock] = ahead
            yield

    def rounds(self, challenges: Sequence[Challenge]) -> Sequence[Sequence[Challenge]]:
        """See ports.Prover. Challenges that need the same place, where it holds one value, take turns."""
        if self._pause() is not None:
            return [[challenge] for challenge in challenges]
        if not isinstance(self._solver, HoldsOneValue):
            return [challenges]
        turns: dict[str, list[Challenge]] = {}
        for challenge in challenges:
            turns.setdefault(self._solver.slot(self._shared.delegation.locate(challenge)), []).append(challenge)
        return [[each for each in turn if each is not None] for turn in zip_longest(*turns.values())]

    @contextmanager
    def proving(self, challenges: Sequence[Challenge]) -> Iterator[None]:
        """See ports.Prover. A record that cannot be removed is logged and left to `sweep`."""
        records = [self._shared.delegation.locate(challenge) for challenge in challenges]
        with ExitStack() as held:
            self._await_turn(held)
            for name in self._slots(records):
                self._hold(held, name)
            solver = held.enter_context(session(self._solver))
            with self._replacing(records):
                states = [self._present(record, solver, held) for record in dict.fromkeys(records)]
            if isinstance(solver, Settles):
                solver.settle([state for state in states if state is not None])
            timeout, interval = self._solver.timeout, self._solver.interval
            self._shared.delegation.wait_visible(records, timeout=timeout, interval=interval)
            yield

    @contextmanager
    def _replacing(self, records: Sequence[Record]) -> Iterator[None]:
        """Hold all that setting these values replaces, so that nothing is half set when something is not to be had."""
        names = set()
        for record in records:
            self._check_place(record)
            with explained(record):
                names |= set(replaced(self._code, self._solver, record))
        with ExitStack() as held:
            for name in sorted(names):
                self._hold(held, name)
            yield

    def _hold(self, held: ExitStack, name: str) -> None:
        """Until `held` ends; a place that only one certificate can have rests then for as long as is wanted there."""
        if (ahead := self._ahead.pop(name, None)) is not None:
            held.enter_context(ahead.pop_all())
            return
        rest = (self._pause() or 0.0) if name.startswith(SLOT) else 0.0
        held.enter_context(self._shared.exclusive(name, patience=AT_ONCE, rest=rest))

    def _present(self, record: Record, solver: Solver, held: ExitStack) -> dict[str, str] | None:
        with explained(record):
            challenge = self._journal.presenting(record)
            # Registered before the call: a provider may have set the value although its answer was lost.
            cleanup = _Cleanup(self, solver, record, challenge)
            held.callback(cleanup.run)
            cleanup.state = solver.present(record)
        if cleanup.state is not None:
            self._journal.presented(challenge, cleanup.state)
        return cleanup.state

    def _check_place(self, record: Record) -> None:
        """Raises Refused for a place that the account's list leaves out; without a list, an odd one is logged once."""
        allowed, bound = places(self._solver)
        allowed.check(record)
        name, target = record.challenge.name, record.fqdn
        if allowed.entries is None and not bound and is_odd(name, target) and self._shared.odd.is_new((name, target)):
            extra = {"challenge": name, "target": target, "provider": self._code, "setting": allowed.variable}
            log.warning("challenge is written at a name that is not made for challenges", extra=extra)

    def remove(self, solver: Solver, record: Record, challenge: ChallengeId, state: dict[str, str] | None) -> None:
        """Remove one value and say so to the journal; a failure is logged, for the next pass will see to it.

        A worker that has lost its lease must not remove what the new owner relies on.
        """
        try:
            self._journal.check()
            with writing(self._code, solver, record, self._shared.exclusive):
                solver.cleanup(record, state)
            self._journal.removed(challenge)
        except Busy:
            log.info("challenge record is removed later", extra={"fqdn": record.fqdn, "provider": self._code})
        except LeaseLost:
            log.info("challenge record left to the new owner", extra={"fqdn": record.fqdn})
        except KnitError as e:
            extra = {"fqdn": record.fqdn, "provider": self._code, "error": str(e)}
            log.warning("challenge record not removed", extra=extra)

    def _pause(self) -> float | None:
        return self._solver.pause if isinstance(self._solver, Paced) else None

    def _await_turn(self, held: ExitStack) -> None:
        """Keep this round apart from the one before. What others had at the same place rests with its lock."""
        pause = self._pause()
        if pause is not None:
            self._shared.pauses.wait([self], pause)
            held.callback(self._shared.pauses.cleared, [self])

    def _slots(self, records: Sequence[Record]) -> list[str]:
        """Names to hold from setting to removal, sorted so that two provers never wait for each other."""
        return sorted({name for record in records for name in slots(self._code, self._solver, record)})


class _Cleanup:
    """What is to be removed when the prover ends; `state` is filled in once the provider has answered."""

    def __init__(self, prover: Dns01, solver: Solver, record: Record, challenge: ChallengeId) -> None:
        self.state: dict[str, str] | None = None
        self._prover = prover
        self._solver = solver
        self._record = record
        self._challenge = challenge

    def run(self) -> None:
        self._prover.remove(self._solver, self._record, self._challenge, self.state)


def places(solver: Solver) -> tuple[Allowed, bool]:
    """Where the solver's account may write, and whether it could not write anywhere else anyway."""
    return (solver.allowed, solver.bound) if isinstance(solver, Paced) else (Paced.allowed, False)


def slots(code: str, solver: Solver, record: Record) -> tuple[str, ...]:
    """What this record has to itself from setting to removal, where the provider cannot keep values apart there."""
    return (f"{SLOT}{code} {solver.slot(record)}",) if isinstance(solver, TakesTheName) else ()


def replaced(code: str, solver: Solver, record: Record) -> tuple[str, ...]:
    """What a write of this record replaces, where the provider's API replaces more than the one value."""
    return (f"dns {code} {solver.replaces(record)}",) if isinstance(solver, ReplacesWhole) else ()


@contextmanager
def writing(code: str, solver: Solver, record: Record, exclusive: Exclusive) -> Iterator[None]:
    """Hold what this write replaces. Raises Busy."""
    with ExitStack() as held:
        for name in replaced(code, solver, record):
            held.enter_context(exclusive(name, patience=AT_ONCE))
        yield


def sweep(
    leftovers: Sequence[Leftover],
    solvers: Solvers,
    removed: Removed,
    exclusive: Exclusive,
    gone: Callable[[Record], bool] = lambda _: False,
) -> list[str]:
    """Remove records an earlier attempt left behind. Returns one sentence for each that is still there.

    A record that its provider will not remove counts as removed once `gone` says that the DNS does not show it: a
    person has seen to it.
    """
    problems: list[str] = []
    for leftover in leftovers:
        try:
            _clear(leftover, solvers, exclusive, gone)
        except (Busy, LeaseLost):
            raise
        except KnitError as e:
            fqdn = leftover.record.fqdn
            problems.append(f"{fqdn}: {e}")
            log.warning("leftover challenge record not removed", extra={"fqdn": fqdn, "error": str(e)})
        else:
            removed(leftover.id)
            log.info("leftover challenge record removed", extra={"fqdn": leftover.record.fqdn})
    return problems


def _clear(leftover: Leftover, solvers: Solvers, exclusive: Exclusive, gone: Callable[[Record], bool]) -> None:
    solver, code = solvers.solver(leftover.provider), solvers.code(leftover.provider)
    with ExitStack() as held:
        for name in slots(code, solver, leftover.record):
            held.enter_context(exclusive(name, patience=AT_ONCE))
        held.enter_context(writing(code, solver, leftover.record, exclusive))
        try:
            solver.cleanup(leftover.record, leftover.state)
        except Refused:
            if not gone(leftover.record):
                raise
