"""What a renewal waits for, in words, and when nobody is going to do it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from knit.cli.output import clean, instant
from knit.core.model.attempt import Step
from knit.core.model.presence import Roll, Seen

DOING = {
    Step.PLANNED: "making a key and asking the CA for an order",
    Step.KEY_STAGED: "asking the CA for an order",
    Step.ORDERED: "asking the CA what to prove",
    Step.FINALIZING: "the CA is issuing",
    Step.ISSUED: "issued; waiting to be published",
    Step.PUBLISHING: "publishing",
}

RENEWERS, PUBLISHERS = "worker-renew", "worker-control"
WAITS = ("RateLimited", "AccountLimited")
OURS = ("Outage", "RowHeld", "ServerDenied", "NotPermitted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What is known of the queue: how many messages wait there, or why that is not known."""

    messages: int = 0
    error: str | None = None


def waiting_for(seen: Seen, roll: Roll, queue: Queued | None, now: datetime) -> str:
    """What it waits for now. `queue` is None where the work is done without one."""
    if seen.held or seen.step in (Step.ISSUED, Step.PUBLISHING):
        return _doing(seen, roll)
    if asked := asked_to_wait(seen, now):
        return f"waiting until {instant(asked)}, as the CA asks: {clean(_words(seen))}"
    if seen.error_class in OURS:
        return f"waiting for a server: {clean(seen.error or '')}"
    if seen.error_class == "Busy":
        return f"waiting for a lock: {clean(seen.error or '')}"
    return _for_a_worker(seen, roll, queue)


def asked_to_wait(seen: Seen, now: datetime) -> datetime | None:
    """Until when the CA wants to be left alone, when nobody is on it for that."""
    if seen.held or seen.step in (Step.FINALIZING, Step.ISSUED, Step.PUBLISHING):
        return None
    ends = [seen.paused_until, seen.retry_at if seen.error_class in WAITS else None]
    return max((at for at in ends if at is not None and at > now), default=None)


def _words(seen: Seen) -> str:
    """The CA's own, from the attempt or from the pause that another certificate began."""
    return (seen.error if seen.error_class in WAITS else seen.said) or ""


def lacking(seen: Seen, roll: Roll, queue: Queued | None) -> str | None:
    """Why nobody is going to do what comes next, with what to start; None while somebody may."""
    if seen.step in (Step.ISSUED, Step.PUBLISHING):
        absent = [] if roll.publishing else [PUBLISHERS]
    elif seen.held:
        return None
    else:
        absent = [name for name, there in ((RENEWERS, roll.renewing), (PUBLISHERS, roll.publishing)) if not there]
        if RENEWERS not in absent:
            absent = []
    if queue is not None and queue.error is not None:
        return f"{queue.error}: start it"
    return None if roll.alone or not absent else to_start(absent)


def to_start(absent: list[str]) -> str:
    """What to start, in one sentence."""
    runs = "neither runs" if len(absent) > 1 else "it does not run"
    return f"start {' and '.join(absent)}: {runs}"


def _doing(seen: Seen, roll: Roll) -> str:
    if seen.step is None:
        return "a worker looks whether it is due"
    if seen.step == Step.ORDERED and seen.proving:
        names = clean(", ".join(seen.proving[:3])) + (" …" if len(seen.proving) > 3 else "")
        if seen.validating:
            return f"the CA is checking the proofs of {names}"
        return f"waiting until the DNS shows the TXT values of {names}"
    if seen.step == Step.ISSUED and not roll.publishing and not roll.alone:
        return f"issued; waiting for {PUBLISHERS}, which does not run, to publish it"
    return DOING.get(Step(seen.step), seen.step)


def _for_a_worker(seen: Seen, roll: Roll, queue: Queued | None) -> str:
    if queue is not None and queue.error is not None:
        return f"waiting for the queue: {queue.error}"
    if not roll.renewing and not roll.alone:
        return f"waiting for a worker: {RENEWERS} does not run"
    if roll.trouble is not None:
        return f"waiting for a worker, in whose way is: {clean(roll.trouble)}"
    if seen.step is not None:
        return "waiting for a worker to go on with it"
    before = f"; {queue.messages} in the queue" if queue is not None and queue.messages > 1 else ""
    return f"waiting for a worker{before}"
