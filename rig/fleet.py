"""A fleet that is made up: nodes that serve, lag, fail, roll back, die and come back, and what is true of each.

What is true is kept beside what the nodes report, so that whoever reads the reports can be held against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from knit.core.model.certificate import CertId
from knit.core.model.deployed import Deployed, Failure, Step

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FINE, LAGGING, FAILED, ROLLED_BACK = "fine", "lagging", "failed", "rolled back"
SILENT = "silent"
ENDS = (FINE, LAGGING, FAILED, ROLLED_BACK)
ODDS = (85, 5, 5, 5)


def key_of(certificate: int) -> str:
    """Its Valkey key."""
    return f"certs:{certificate}"


def name_of(node: int) -> str:
    """What it is called."""
    return f"node{node:03}"


class Fleet:
    """`nodes` nodes that all take `certificates` certificates, numbered from 1, of generation 1 and served."""

    def __init__(self, nodes: int, certificates: int, random: Random) -> None:
        self.nodes = range(nodes)
        self.certificates = range(1, certificates + 1)
        self.generation = dict.fromkeys(self.certificates, 1)
        self.silent: set[int] = set()
        self.changed: set[tuple[int, int]] = set()
        self._random = random
        self._at = BEGAN
        self._ends = {(node, one): FINE for node in self.nodes for one in self.certificates}
        self._says = {(node, one): self._deployed(one, FINE, 1, 1) for node in self.nodes for one in self.certificates}

    def true(self, node: int, certificate: int) -> str:
        """What is true of this certificate on this node."""
        return SILENT if node in self.silent else self._ends[node, certificate]

    def says(self, node: int, certificate: int) -> Deployed:
        """What the node has reported last of it."""
        return self._says[node, certificate]

    def turns(self, count: int) -> None:
        """So many things happen."""
        for _ in range(count):
            self._at += timedelta(minutes=1)
            happens = self._random.choices((self._renew, self._die, self._come_back, self._recover), (5, 2, 2, 5))[0]
            happens()

    def _renew(self) -> None:
        one = self._random.choice(self.certificates)
        self.generation[one] += 1
        for node in self.nodes:
            # One that is dead hears nothing of it, and lags when it is back.
            end = LAGGING if node in self.silent else self._random.choices(ENDS, ODDS)[0]
            self._ends[node, one] = end
            if node not in self.silent:
                self._report(node, one)

    def _die(self) -> None:
        self.silent.add(self._random.choice(self.nodes))

    def _come_back(self) -> None:
        for node in sorted(self.silent)[:1]:
            self.silent.discard(node)
            for one in self.certificates:
                if self._ends[node, one] == LAGGING and self._random.random() < 0.5:
                    self._ends[node, one] = FINE
                    self._report(node, one)

    def _recover(self) -> None:
        node, one = self._random.choice(self.nodes), self._random.choice(self.certificates)
        if node not in self.silent:
            self._ends[node, one] = FINE
            self._report(node, one)

    def _report(self, node: int, one: int) -> None:
        before = self._says[node, one].generation or 0
        self._says[node, one] = self._deployed(one, self._ends[node, one], self.generation[one], before)
        self.changed.add((node, one))

    def _deployed(self, one: int, end: str, generation: int, before: int) -> Deployed:
        probed = one % 2 == 0
        has = generation if end in (FINE, FAILED) else before
        is_written_only = end == LAGGING and one % 3 == 0
        if is_written_only:
            has = generation
        reached = None if is_written_only or (end == FAILED and one % 5 == 0) else self._at
        return Deployed(
            key=key_of(one),
            place="nginx",
            name=f"host{one}.knit.example",
            cert_id=CertId(one),
            generation=has,
            serial=f"{has:x}{one:08x}",
            fingerprint=f"{has:032x}{one:032x}",
            not_after=self._at + timedelta(days=90),
            published_at=self._at,
            written_at=self._at,
            reloaded_at=reached,
            served_at=reached if probed else None,
            served_on="127.0.0.1:443" if probed and reached else None,
            probed=probed,
            failure=self._failure(generation, end),
        )

    def _failure(self, generation: int, end: str) -> Failure | None:
        if end not in (FAILED, ROLLED_BACK):
            return None
        return Failure(
            step=Step.RELOAD,
            error="exit code 1",
            output="no such directive",
            at=self._at + timedelta(seconds=1),
            next_try=None,
            rolled_back=end == ROLLED_BACK,
            generation=generation,
        )

    def behind(self) -> Iterator[tuple[int, int, str]]:
        """Node, certificate and what is true, where that is not as it should be."""
        for node in self.nodes:
            for one in self.certificates:
                if (what := self.true(node, one)) != FINE:
                    yield node, one, what
