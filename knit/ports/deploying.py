"""What a node keeps of its certificates on their way from written to served."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from knit.core.model.deployed import Fault, Progress, Refusal
from knit.core.placement import Installed
from knit.errors import KnitError


class Ledger(Protocol):
    """What is owed at each place, what failed, and the pairs that were good. Keys are those of the source.

    What cannot be written down now is known to this process, and written as soon as that is possible.
    """

    def owed(self) -> Mapping[str, set[str]]:
        """By place, the keys whose files nothing has made sure to be served; none of a place where a pair is torn."""

    def installed(self, key: str) -> Installed | None:
        """What is in the key's files."""

    def progress(self, key: str) -> Progress | None:
        """How far it has come."""

    def refusals(self) -> Mapping[str, Refusal]:
        """What failed, by key, and has not succeeded since."""

    def reloading(self, keys: Collection[str]) -> None:
        """The server is about to load these. Raises Transient when that cannot be written: it must not, then."""

    def reloaded(self, keys: Collection[str], at: datetime) -> None:
        """A reload of these has succeeded."""

    def done(self, keys: Collection[str], at: datetime) -> None:
        """Nothing is owed for these any more: a reload has succeeded, and nobody looks at what is served."""

    def served(self, key: str, at: datetime, on: str) -> None:
        """This very leaf was seen there: nothing is owed for it any more."""

    def refuse(self, keys: Collection[str], fault: Fault) -> None:
        """What is in the files of these now has failed.

        Of a pair that was put back nothing is remembered: why another one was refused is still to be known.
        """

    def amend(self, keys: Collection[str], *, error: str, output: str) -> None:
        """More is known of why these have failed."""

    def forgive(self, keys: Collection[str]) -> None:
        """What failed of these is nobody's concern any more."""

    def served_until(self, keys: Collection[str]) -> datetime | None:
        """When the first of the pairs expires that the server has loaded for these, as far as is known.

        Of a key for which it has loaded none, when the one in its files does.
        """

    def can_go_back(self, key: str, now: datetime) -> bool:
        """Whether another pair is kept for the key's files, which was good, and has not expired."""

    def go_back(self, keys: Collection[str]) -> dict[str, KnitError]:
        """Put the kept pairs of these back; returns why some are not.

        A reload is owed for those that a server may have loaded. Raises Transient when nothing can be written.
        """
