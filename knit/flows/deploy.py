"""From written to served: at each place check, reload, probe, or go back to the files of before.

What is owed is durable, how far a place has come with it is not: after any death the owed steps begin again at the
check, and each of them may be repeated. A place that waits, for its window or for a slow server, is left and gone on
with later, so that it holds up nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from knit.core.deploying import PROBE_PAUSES, Server, cut, doubled, halves, sni
from knit.core.model.deployed import Fault, Step
from knit.core.model.places import Probe
from knit.core.windows import Turn, may_reload
from knit.errors import Transient
from knit.ports.commands import Commands, Ran
from knit.ports.deploying import Ledger
from knit.ports.probing import KeyKind, Prober
from knit.ports.process import Clock

log = logging.getLogger(__name__)

NAMED = 10
"""Keys that one line names."""

LOOKS = 50
"""Looks at what is served, before others have their turn."""

PATIENCE = 30.0
"""Seconds that a server may take until it serves what it has reloaded."""

ISOLATING = 120.0
"""Seconds in which the bad ones among many are searched for; who is not reached is tried again later."""

CLOCK = 300.0
"""Seconds after which the clock is looked at again while a window is waited for: it may have been set."""

ALSO_BEFORE = "it fails with the files of before, too: the configuration itself is broken"

SUCCEEDED = Ran(failure=None, output="")

EVENTS = {
    Step.CHECK: "check failed, will retry",
    Step.RELOAD: "reload failed, will retry",
    Step.PROBE: "another certificate is served, will retry",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where the places are. `well`: no step has failed and not succeeded since; `wakes` is when `run` is wanted again.

    That is on the monotonic clock; None where only a new certificate makes work.
    """

    well: bool
    busy: bool
    wakes: float | None


@dataclass(slots=True)
class _Standing:
    """A place between two runs: the deployment that waits, of which certificates, and until when."""

    going: Iterator[float] | None = None
    batch: frozenset[str] = frozenset()
    wakes: float = 0.0
    failures: int = 0
    waits: str | None = None


class Deploy:
    """All places of one node. `write` writes what is published of these keys, and returns those that it has written."""

    def __init__(
        self,
        *,
        servers: Mapping[str, Server],
        ledger: Ledger,
        commands: Commands,
        prober: Prober | None,
        write: Callable[[Collection[str]], Collection[str]],
        clock: Clock,
        monotonic: Callable[[], float],
        stopping: Callable[[], bool],
    ) -> None:
        self._servers = servers
        self._ledger = ledger
        self._commands = commands
        self._prober = prober
        self._write = write
        self._clock = clock
        self._monotonic = monotonic
        self._stopping = stopping
        self._standing = {name: _Standing() for name in servers}

    def hurry(self) -> None:
        """Somebody asks for everything now: what failed is tried again at once."""
        for standing in self._standing.values():
            standing.wakes = 0.0

    def waits(self, place: str) -> str | None:
        """What the place's next step waits for."""
        standing = self._standing.get(place)
        return None if standing is None else standing.waits

    def run(self, written: Collection[str] = ()) -> Outcome:
        """Go on at every place whose time has come; `written` are keys whose files were written just now.

        Raises Transient when the node's state cannot be written.
        """
        owed = self._owed()
        # Those that have failed come last: they may take their time to fail again.
        for name in sorted(owed.keys() & self._servers.keys(), key=lambda name: self._standing[name].failures):
            if self._stopping():
                break
            if not owed[name].isdisjoint(written):
                self._standing[name].going = None
                self._standing[name].wakes = 0.0
            self._go_on(self._servers[name], self._standing[name])
        if self._prober is not None and not any(one.going for one in self._standing.values()):
            self._prober.close()
        return self._outcome()

    def _go_on(self, server: Server, standing: _Standing) -> None:
        """Until the place is done, waits or has failed for good. A yield of 0 lets the other places have their turn."""
        while self._monotonic() >= standing.wakes and not self._stopping():
            owed = self._owed().get(server.place.name, set())
            if standing.going is None or not owed <= standing.batch:
                if not owed:
                    return
                standing.batch = frozenset(owed)
                standing.going, standing.waits = self._deployment(server, standing, sorted(owed)), None
            pause = next(standing.going, None)
            if pause is None:
                standing.going = None
            else:
                standing.wakes = self._monotonic() + pause
                return

    def _owed(self) -> Mapping[str, set[str]]:
        """By place. Where there is a single one, what is owed is owed there, also what an earlier knit installed."""
        owed = self._ledger.owed()
        if len(self._servers) == 1 and owed:
            return {name: {key for keys in owed.values() for key in keys} for name in self._servers}
        return owed

    def _outcome(self) -> Outcome:
        standing = [self._standing[name] for name in self._owed() if name in self._standing]
        return Outcome(
            well=not self._ledger.refusals() and not any(one.failures for one in standing),
            busy=any(one.going is not None and one.waits is None for one in standing),
            wakes=min((one.wakes for one in standing), default=None),
        )

    def _deployment(self, server: Server, standing: _Standing, keys: Sequence[str]) -> Iterator[float]:
        """One deployment of these; yields seconds after which it goes on."""
        checked = self._checked(server, standing, keys)
        waited = False
        for pause in self._waits(server, standing, checked):
            waited = True
            yield pause
        if waited:
            # The configuration may have changed since.
            checked = self._checked(server, standing, checked)
        if not checked:
            return
        ran = self._reload(server, checked)
        if ran.failure is not None:
            self._fail(server, standing, checked, Step.RELOAD, ran)
        elif server.place.probe is None:
            self._ledger.done(checked, self._clock())
            standing.failures = 0
        else:
            self._ledger.reloaded(checked, self._clock())
            yield from self._probed(server, standing, server.place.probe, checked)

    def _waits(self, server: Server, standing: _Standing, keys: Sequence[str]) -> Iterator[float]:
        """Until the place may be reloaded for these: seconds after which to look again."""
        while not (turn := self._turn(server, keys)).now:
            assert turn.opens is not None
            if standing.waits is None:
                fields = {"count": len(keys), "opens": f"{turn.opens:%F %H:%M} UTC"}
                log.info("reload waits for the window", extra=_place(server) | fields)
            standing.waits = f"the window, which opens at {turn.opens:%F %H:%M} UTC"
            yield min((turn.opens - self._clock()).total_seconds(), CLOCK)
        standing.waits = None
        if turn.early:
            log.warning("reload outside of the window", extra=_place(server) | {"cause": turn.reason})

    def _turn(self, server: Server, keys: Sequence[str]) -> Turn:
        window = server.place.window if keys else None
        until = None if window is None else self._ledger.served_until(keys)
        return may_reload(window, now=self._clock(), served_until=until)

    def _reload(self, server: Server, keys: Sequence[str]) -> Ran:
        self._ledger.reloading(keys)
        if server.place.reload is None:
            return SUCCEEDED
        ran = self._commands.run(server.place.reload)
        if ran.failure is None:
            log.info("reloaded", extra=_place(server) | ({"output": ran.output} if ran.output else {}))
        return ran

    def _checked(self, server: Server, standing: _Standing, keys: Sequence[str]) -> Sequence[str]:
        """Those of these that the server's own check lets pass, together; the others are dealt with."""
        check = server.place.check
        ran = SUCCEEDED if check is None else self._commands.run(check)
        if check is None or ran.failure is None:
            return keys
        stays = self._fail(server, standing, keys, Step.CHECK, ran)
        if stays or len(keys) == 1:
            # Where some must stay, there is nothing to compare with.
            return ()
        before = self._commands.run(check)
        if before.failure is not None:
            self._amend(server, keys, replace(before, failure=f"{before.failure}; {ALSO_BEFORE}"))
            return ()
        return self._isolated(server, standing, keys, check)

    def _isolated(self, server: Server, standing: _Standing, keys: Sequence[str], check: str) -> Sequence[str]:
        """Those of many that are good. All are put back; by halves the bad ones are found, each with its own output."""
        until = self._monotonic() + ISOLATING
        good: list[str] = []
        parts = halves(keys)
        while parts and not self._stopping() and self._monotonic() < until:
            part = parts.pop(0)
            written = [key for key in part if key in self._write(part)]
            ran = self._commands.run(check)
            if ran.failure is None:
                good += written
            elif self._fail(server, standing, written, Step.CHECK, ran, quiet=len(part) > 1):
                return ()
            elif len(part) > 1:
                parts = [*halves(part), *parts]
        return good

    def _probed(self, server: Server, standing: _Standing, probe: Probe, keys: Sequence[str]) -> Iterator[float]:
        """Look until all of these are served; those that never are have failed."""
        until = self._monotonic() + PATIENCE
        left = dict.fromkeys(keys, "nobody has looked")
        for pause in PROBE_PAUSES:
            yield pause
            yield from self._look(probe, left)
            if not left:
                standing.failures = 0
                return
            if self._monotonic() >= until:
                break
        for why in dict.fromkeys(left.values()):
            unserved = [key for key in left if left[key] == why]
            self._fail(server, standing, unserved, Step.PROBE, Ran(failure=why, output=""))

    def _look(self, probe: Probe, left: dict[str, str]) -> Iterator[float]:
        """Look once at each that is left; what is not there to be seen is asked for no more this time."""
        for number, key in enumerate(list(left), 1):
            try:
                why = self._unserved(probe, key)
            except Transient as error:
                left.update(dict.fromkeys(list(left)[number - 1 :], str(error)))
                return
            if why is None:
                del left[key]
            else:
                left[key] = why
            if not number % LOOKS:
                yield 0.0

    def _unserved(self, probe: Probe, key: str) -> str | None:
        """Why this certificate is not served; None when it is. Raises Transient when nothing can be seen."""
        assert self._prober is not None
        there, progress = self._ledger.installed(key), self._ledger.progress(key)
        if there is None or progress is None:
            return None
        leaf = progress.leaf
        kind = None if leaf.key_kind is None else KeyKind(leaf.key_kind)
        seen = self._prober.served(probe, server_name=sni(leaf.name), key_kind=kind)
        if leaf.fingerprint == seen.fingerprint or (leaf.fingerprint is None and there.not_after == seen.not_after):
            self._ledger.served(key, self._clock(), seen.address)
            return None
        return f"{seen.address} serves serial {seen.serial} for {leaf.name or 'any name'}, not {leaf.serial}"

    def _fail(
        self,
        server: Server,
        standing: _Standing,
        keys: Sequence[str],
        step: Step,
        ran: Ran,
        *,
        quiet: bool = False,
    ) -> Collection[str]:
        """What failed is remembered, and the files of before come back; returns the keys that have none.

        The files of those stay, since nothing better could be served, and are tried again.
        """
        now = self._clock()
        back = [key for key in keys if server.goes_back and self._ledger.can_go_back(key, now)]
        self._refuse(server, back, step, ran, rolled_back=True)
        missed = self._ledger.go_back(back) if back else {}
        stays = [key for key in keys if key not in back or key in missed]
        self._refuse(server, stays, step, ran, rolled_back=False)
        delay = doubled(server.retry, standing.failures)
        if stays or not back:
            standing.failures += 1
            standing.wakes = self._monotonic() + delay
        if not quiet:
            _tell(server, keys, step, ran, again={"again_in": f"{delay:g}s"} if stays else {}, stay=len(stays))
        return stays

    def _refuse(self, server: Server, keys: Sequence[str], step: Step, ran: Ran, *, rolled_back: bool) -> None:
        """Remember this of what is in the files of these now."""
        now = self._clock()
        for tries, group in self._by_tries(keys).items():
            delay = timedelta(seconds=doubled(server.retry, tries))
            fault = Fault(
                step=step,
                error=ran.failure or "",
                output=cut(ran.output),
                at=now,
                next_try=now + delay,
                rolled_back=rolled_back,
                tries=tries + 1,
            )
            self._ledger.refuse(group, fault)

    def _by_tries(self, keys: Sequence[str]) -> dict[int, list[str]]:
        """How often what is in the files has failed before."""
        found: dict[int, list[str]] = {}
        refusals = self._ledger.refusals()
        for key in keys:
            there, refusal = self._ledger.installed(key), refusals.get(key)
            same = there is not None and refusal is not None and refusal.identity == there.identity
            found.setdefault(refusal.fault.tries if same and refusal is not None else 0, []).append(key)
        return found

    def _amend(self, server: Server, keys: Sequence[str], ran: Ran) -> None:
        """More is known of why these, which are put back, have failed."""
        log.error("check fails with the files of before, too", extra=_fields(server, keys, ran))
        self._ledger.amend(keys, error=ran.failure or "", output=cut(ran.output))


def _tell(server: Server, keys: Sequence[str], step: Step, ran: Ran, *, again: Mapping[str, object], stay: int) -> None:
    fields = {**_fields(server, keys, ran), **again}
    if server.goes_back:
        fields["files"] = "stay" if stay == len(keys) else "those of before are back"
    log.error(EVENTS[step], extra=fields)


def _fields(server: Server, keys: Sequence[str], ran: Ran) -> dict[str, object]:
    fields: dict[str, object] = {"cause": ran.failure, "output": ran.output}
    if server.goes_back:
        more = ", …" if len(keys) > NAMED else ""
        fields |= {"count": len(keys), "keys": ", ".join(keys[:NAMED]) + more}
    return _place(server) | fields


def _place(server: Server) -> dict[str, object]:
    return {"place": server.place.name} if server.goes_back else {}
