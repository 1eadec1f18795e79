"""What an operator is told: each trouble once, until it changes or is over, and what many share in one line."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

NAMED = 10
"""Keys that one line names; of more it tells how many."""

LINES = 10
"""Causes that get lines of their own at one time; all others share one more."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """An event as it is logged, and its cause."""

    event: str
    cause: str


class Once:
    """Says what lasts at its beginning alone: again only after a turn in which it was not said."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._before: set[object] = set()
        self._now: set[object] = set()

    def turn(self) -> None:
        """Another pass begins."""
        self._before, self._now = self._now, set()

    def say(self, level: int, event: str, **fields: object) -> None:
        """Log it, unless it was so in the turn before."""
        line = (event, *sorted(fields.items()))
        if line not in self._before and line not in self._now:
            self._logger.log(level, event, extra=fields)
        self._now.add(line)


class StandingTroubles:
    """The troubles that stand, as they were told."""

    def __init__(self) -> None:
        self._pass: str | None = None
        self._pairs: dict[str, Trouble] = {}

    def broken_off(self, cause: str) -> None:
        """A pass came to nothing."""
        if self._pass != cause:
            self._pass = cause
            log.error("the pass was broken off, keeping what is installed", extra={"cause": cause})

    def went_through(self, pairs: Mapping[str, Trouble]) -> None:
        """A pass did its work, and these are all troubles with pairs that there are now, by key."""
        if self._pass is not None:
            self._pass = None
            log.info("passes go through again")
        over = [key for key in self._pairs if key not in pairs]
        new = {key: trouble for key, trouble in pairs.items() if self._pairs.get(key) != trouble}
        self._pairs = dict(pairs)
        _tell(logging.ERROR, new)
        if over:
            log.info("trouble with published pairs is over", extra=_named(over))


def remark(about: Mapping[str, Trouble]) -> None:
    """Warn of what was found with these keys, and is being seen to."""
    _tell(logging.WARNING, about)


def _tell(level: int, troubles: Mapping[str, Trouble]) -> None:
    for event, causes in _by_event(troubles).items():
        groups = sorted(causes.items(), key=lambda group: -len(group[1]))
        for cause, keys in groups[:LINES]:
            log.log(level, event, extra={**_named(keys), "cause": cause})
        if others := groups[LINES:]:
            keys = [key for _, of_this in others for key in of_this]
            cause = f"{others[0][0]}; each of the others has its own cause"
            log.log(level, event, extra={**_named(keys), "cause": cause})


def _by_event(troubles: Mapping[str, Trouble]) -> dict[str, dict[str, list[str]]]:
    """Keys by event and cause."""
    found: dict[str, dict[str, list[str]]] = {}
    for key, trouble in troubles.items():
        found.setdefault(trouble.event, {}).setdefault(trouble.cause, []).append(key)
    return found


def _named(keys: Sequence[str]) -> dict[str, object]:
    if len(keys) == 1:
        return {"key": keys[0]}
    more = ", …" if len(keys) > NAMED else ""
    return {"count": len(keys), "keys": ", ".join(keys[:NAMED]) + more}
