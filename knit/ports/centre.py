"""Who works at the centre, and how somebody at a shell has it look at something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from knit.core.model.certificate import CertId
from knit.core.model.presence import Roll, Seen


class Presence(Protocol):
    """How a worker process says that it is there."""

    def present(self, name: str, queues: Sequence[str], *, alone: bool, trouble: str | None) -> None:
        """The process of this name works on these queues; without another call it counts as there for 25 s.

        `alone`: its queues are its own. `trouble` is what is in its way.
        """

    def part(self, name: str) -> None:
        """This process is not there any more."""


class Centre(Protocol):
    """What somebody who waits for a certificate looks at every second."""

    def roll(self) -> Roll:
        """Who is there now."""

    def seen(self, cert_id: CertId) -> Seen | None:
        """Where this certificate is; None once it is removed."""

    def under_way(self) -> Sequence[Seen]:
        """Every certificate with an open attempt."""


class Bell(Protocol):
    """Has a running centre look at the list within seconds."""

    def change(self) -> None:
        """Somebody has changed the list: a running centre looks at it within seconds."""

    def confirm_mass(self) -> int:
        """A person says that all certificates may be ordered anew at once; gives how many were held back."""

    def scheduled(self) -> bool:
        """Whether a scheduler is there to hear of it."""
