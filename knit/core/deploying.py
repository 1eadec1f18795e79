"""What becomes of written certificates: when a step is tried again, and which of many fails. Decided here, pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from knit.core.model.deployed import Deployed, Failure, Progress, Refusal
from knit.core.model.places import Place
from knit.core.placement import Installed

Retry = tuple[float, float]
"""Seconds until a failed step is tried again: at first, and at most; doubled each time."""

RELOAD_RETRY: Retry = (5.0, 600.0)
"""Of the reload of a node without a node file."""

PLACE_RETRY: Retry = (10.0, 3600.0)

OUTPUT = 4096
"""Characters kept of what a failed command printed: its end, where it says why it gave up."""

PROBE_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 14.0)
"""Seconds before each look at what is served: some services take a while to reload."""

SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A place, and how a node deals with it: `goes_back`, it puts the files of before back when a step fails."""

    place: Place
    goes_back: bool
    retry: Retry = PLACE_RETRY


def doubled(retry: Retry, times: int) -> float:
    """Seconds to wait after so many failures before this one."""
    first, most = retry
    return float(min(first * 2 ** min(times, 32), most))


def is_due(refusal: Refusal, now: datetime) -> bool:
    """Whether what failed may be tried again; a clock that was put back holds nothing up."""
    fault = refusal.fault
    return fault.next_try is not None and (now >= fault.next_try or now < fault.at - SKEW)


def cut(output: str) -> str:
    """What is kept of a command's output."""
    return output if len(output) <= OUTPUT else f"…{output[-OUTPUT:]}"


def halves(keys: Sequence[str]) -> list[Sequence[str]]:
    """Two parts, or the only one there can be."""
    middle = (len(keys) + 1) // 2
    return [part for part in (keys[:middle], keys[middle:]) if part]


def sni(name: str | None) -> str | None:
    """A host name of this certificate to ask for: of a wildcard's, one that it fits."""
    if name is None or not name.startswith("*."):
        return name
    return f"knit-probe{name[1:]}"


def deployed(
    key: str,
    installed: Installed,
    progress: Progress,
    *,
    probed: bool,
    refusal: Refusal | None,
    waits: str | None,
    orphaned: bool = False,
) -> Deployed:
    """What is shown of a certificate."""
    leaf = progress.leaf
    return Deployed(
        key=key,
        place=leaf.place,
        name=leaf.name or key,
        cert_id=installed.cert_id,
        generation=installed.generation,
        serial=leaf.serial,
        fingerprint=leaf.fingerprint,
        not_after=installed.not_after,
        published_at=progress.published_at,
        written_at=progress.written_at,
        reloaded_at=progress.reloaded_at,
        served_at=progress.served_at,
        served_on=progress.served_on,
        probed=probed,
        waits=waits,
        failure=None if refusal is None else failure_of(refusal),
        orphaned=orphaned,
    )


def failure_of(refusal: Refusal) -> Failure:
    """The failure as it is shown."""
    fault = refusal.fault
    return Failure(
        step=fault.step,
        error=fault.error,
        output=fault.output,
        at=fault.at,
        next_try=fault.next_try,
        rolled_back=fault.rolled_back,
        generation=refusal.generation,
    )
