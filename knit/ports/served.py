"""What nodes report: where it is read, where it is recorded, and what is asked of the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from knit.core.model.certificate import CertId
from knit.core.model.deployed import Deployed
from knit.core.model.node import Node, Reached, Reported
from knit.core.report import Head
from knit.core.served import Behind, Spread
from knit.errors import KnitError


class Reports(Protocol):
    """The reports of all nodes, as each has written its own. They hold whatever somebody has put there.

    Raises Unreachable, and what a refused login raises.
    """

    def names(self) -> Sequence[str]:
        """The nodes that have a report, of those whose names are names."""

    def heads(self, names: Sequence[str]) -> Mapping[str, tuple[bytes, timedelta | None] | KnitError]:
        """Each report's head, and how long it will last unless another follows; None: for ever.

        Reports that are gone are left out; an error stands for one that cannot be one.
        """

    def parts(self, name: str, numbers: Sequence[int]) -> Mapping[int, bytes] | KnitError:
        """These parts of a report, those of them that are there; or why they cannot be parts."""

    def close(self) -> None:
        """Give the connection up."""


class NodeRecords(Protocol):
    """What was recorded of reports. Every write is one transaction, and a second one changes nothing."""

    def known(self) -> Mapping[str, Reported]:
        """What is recorded of each node's last report, without its parts."""

    def recorded_parts(self, name: str, revision: int) -> Mapping[int, str] | None:
        """The digests of its parts as they are recorded; None where that is no longer this revision."""

    def record(
        self, before: Reported, head: Head, digest: str, age: timedelta, parts: Mapping[int, Sequence[Deployed]]
    ) -> bool:
        """Record a report that is so old, with those of its parts that have changed since `before`.

        Parts that the head does not name are forgotten. False, and nothing is recorded, where another process has
        recorded one since `before` was read.
        """

    def refuse(self, before: Reported, digest: str | None, why: str) -> None:
        """The node's last report, with this digest of its head, is no report; what it said before stays."""

    def settle(self, keys: Sequence[str]) -> None:
        """Tell which of these certificates are served everywhere now, and which nodes have gone silent."""


class ServedBook(Protocol):
    """What is recorded of the fleet."""

    def nodes(self) -> Sequence[Node]:
        """All nodes, by name."""

    def forget(self, name: str) -> bool:
        """Forget a node, and all that it said; whether it was known."""

    def spreads(self, cert_id: CertId | None = None, *, most: int) -> Sequence[Spread]:
        """Each enabled certificate, or this one, over its nodes; those that are behind are named for at most so many.

        Of these certificates, about fifty nodes each are named; the counts are always whole.
        """

    def on_nodes(self, cert_id: CertId) -> Sequence[Behind]:
        """What each node that takes this certificate does with it: those that are fine too."""

    def history(self, cert_id: CertId) -> Sequence[Reached]:
        """When its newest generations got where, by generation, newest first, and node."""
