"""How far the fleet is with each certificate, from what its nodes have reported last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from knit.core.model.certificate import CertId
from knit.core.model.deployed import Deployed


class Standing(StrEnum):
    """What one node does with one certificate. Only the first two are as they should be."""

    SERVED = "served"
    """A handshake with the node's service has shown this very certificate."""

    RELOADED = "reloaded"
    """It is written, and the service has been reloaded where there is one; no probe is set."""

    LAGGING = "lagging"
    """The node is on its way, waits for its window, or has not heard of it."""

    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    """It failed, and the files of before are back in their places."""

    SILENT = "silent"
    """Nothing was heard of the node for three intervals: whatever it said last is no longer known to be so."""


FINE = frozenset({Standing.SERVED, Standing.RELOADED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """What is published for a certificate, and what nodes are to serve. None where knit has recorded nothing yet."""

    cert_id: CertId
    names: str
    key: str
    issued_at: datetime | None
    published_at: datetime | None
    generation: int | None
    serial: str | None
    not_after: datetime | None = None


def is_done(here: Deployed) -> bool:
    """Whether the last step that this place has is behind what is in its files: the probe, else the reload."""
    reached = here.served_at if here.probed else here.reloaded_at
    if reached is None or here.orphaned:
        return False
    failure = here.failure
    ours = failure is not None and not failure.rolled_back and failure.generation in (None, here.generation)
    return not (ours and failure is not None and failure.at > reached)


def is_current(here: Deployed, current: Current) -> bool:
    """Whether what is in the files is what is published, or newer: a node may know of it before PostgreSQL does."""
    if here.generation is None or current.generation is None:
        return here.serial is not None and here.serial == current.serial
    return here.generation >= current.generation


def standing(here: Deployed, current: Current, *, silent: bool) -> Standing:
    """What this node, by its last report, does with this certificate."""
    if silent:
        return Standing.SILENT
    if is_current(here, current) and is_done(here):
        return Standing.SERVED if here.probed else Standing.RELOADED
    failure = here.failure
    if failure is None or _is_of_before(failure.generation, current):
        return Standing.LAGGING
    return Standing.ROLLED_BACK if failure.rolled_back else Standing.FAILED


def _is_of_before(generation: int | None, current: Current) -> bool:
    return generation is not None and current.generation is not None and generation < current.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A node that does not do what it should with a certificate, and what it last said of it."""

    node: str
    standing: Standing
    here: Deployed


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One certificate over all nodes that take it. `since` is when the last of those that are fine got there."""

    current: Current
    nodes: int
    fine: int
    since: datetime | None = None
    behind: Sequence[Behind] = field(default=())

    @property
    def served(self) -> bool:
        """Whether it is published, some node takes it, and every one that does is fine."""
        return self.current.published_at is not None and 0 < self.nodes == self.fine

    @property
    def lack(self) -> str | None:
        """Why it is not served, in a sentence; None when it is."""
        if self.served:
            return None
        if self.current.published_at is None:
            return "it is not published"
        if not self.nodes:
            return "no node reports it"
        return f"{self.nodes - self.fine} of {self.nodes} nodes that take it do not serve it"


def may_be_served(spreads: Iterable[Spread], before: datetime) -> bool:
    """Whether all may be served by then, as far as nodes have said when they try again.

    A failure without a next try, or with a later one, waits for a person; so does a silent node.
    """
    return all(_goes_on(behind, before) for one in spreads for behind in one.behind)


def _goes_on(behind: Behind, before: datetime) -> bool:
    if behind.standing is Standing.LAGGING:
        return True
    failure = behind.here.failure
    again = None if failure is None else failure.next_try
    return behind.standing is not Standing.SILENT and again is not None and again < before
