"""What a process gives to whatever runs in it: its clock, a wait that ends at a stop, its share of threads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from knit.core.model.certificate import CertId

Clock = Callable[[], datetime]
"""Returns the current time, aware, UTC."""


Sleep = Callable[[float], None]
"""Waits so many seconds, or raises Interrupted as soon as the process is told to stop."""


class Retries(Protocol):
    """The share of this process's threads that renewals which have failed before may have."""

    def room(self, cert_id: CertId) -> AbstractContextManager[bool]:
        """Whether there is room for this one, which is taken until the end."""

    def line_up(self, cert_id: CertId) -> None:
        """A certificate found no room: `freed` gives it when its turn comes, and its message is sent then."""

    def freed(self) -> CertId | None:
        """The next one whose turn has come."""
