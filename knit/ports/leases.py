"""The exclusive right to work on one thing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol


class Lease(Protocol):
    """The exclusive right to work on one thing, with a fencing number that only grows.

    `at` is when it was taken, on the database's clock.
    """

    @property
    def name(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def at(self) -> datetime: ...

    def check(self) -> None:
        """Raise LeaseLost when the lease is known to have passed to another owner."""


class Leases(Protocol):
    """Leases on the database's clock, kept alive in the background while held."""

    def hold(self, name: str) -> AbstractContextManager[Lease | None]:
        """Take the lease, or give None at once while another owner holds it. Released on exit."""


class Places(Protocol):
    """Leases of which there are several of one kind, over all processes together."""

    def place(self, kind: str, most: int) -> AbstractContextManager[Lease | None]:
        """Take one of so many, or give None at once while all are held. Released on exit, or when the process dies."""
