"""Whether every node serves what is published: reports are read anew, and the record of them is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from knit.core.model.certificate import CertId
from knit.core.served import Spread, may_be_served
from knit.errors import KnitError
from knit.flows.collect import Collect
from knit.ports.process import Clock, Sleep
from knit.ports.served import ServedBook

EVERY = 1.0
"""Seconds between two looks of whoever waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All certificates that were asked about. `unread` is why the reports could not be read: it is as last recorded."""

    spreads: Sequence[Spread]
    unread: str | None = None

    @property
    def served(self) -> bool:
        """Whether each is served by every node that takes it, and some node does."""
        return all(one.served for one in self.spreads)

    @property
    def unreported(self) -> bool:
        """Whether no node reports any of them."""
        return bool(self.spreads) and not any(one.nodes for one in self.spreads)


class Status:
    """`collect` is None where nobody has said in which Valkey the reports are."""

    def __init__(self, *, collect: Collect | None, book: ServedBook, clock: Clock, sleep: Sleep) -> None:
        self._collect = collect
        self._book = book
        self._clock = clock
        self._sleep = sleep

    def look(self, cert_id: CertId | None = None, *, most: int) -> Fleet:
        """As it is now, with at most so many nodes that are behind."""
        unread = self._read()
        return Fleet(spreads=self._book.spreads(cert_id, most=most), unread=unread)

    def follow(
        self, cert_id: CertId | None, *, within: timedelta, most: int, tell: Callable[[Fleet], None] = lambda _: None
    ) -> Fleet:
        """Until all is served, or cannot be in this time as far as nodes have said; `tell` hears of each look."""
        until = self._clock() + within
        while True:
            fleet = self.look(cert_id, most=most)
            tell(fleet)
            if fleet.served or self._clock() >= until or not may_be_served(fleet.spreads, until):
                return fleet
            self._sleep(EVERY)

    def _read(self) -> str | None:
        if self._collect is None:
            return "KNIT_REPORT_URL and KNIT_VALKEY_URL are not set"
        try:
            self._collect.run()
        except KnitError as error:
            return str(error)
        return None
