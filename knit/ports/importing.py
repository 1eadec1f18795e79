"""Certificates that a person brings, in the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from knit.core.brought import Brought
from knit.core.model.attempt import AttemptId, Step
from knit.core.model.certificate import CertId
from knit.core.wanted import Edited, Wanted


class Imports(Protocol):
    """An import is an attempt that orders nothing: `planned`, then handed over as one that a CA has filled."""

    def imported(self, which: CertId | Sequence[str]) -> tuple[str, str] | None:
        """Valkey key and hash of what is published of an imported certificate; None while something is under way."""

    def begin(
        self, which: CertId | Sequence[str], decide: Callable[[Wanted | None], Wanted], brought: Brought
    ) -> tuple[Edited, AttemptId]:
        """Edit the list as `CertList.edit` does, and open the attempt, at once; one that was open is ended."""

    def hand_over(self, attempt: AttemptId, brought: Brought, sha256: str) -> None:
        """The bundle is in staging: it can be published. Raises LeaseLost once the attempt has ended."""

    def ended(self, attempt: AttemptId) -> tuple[Step, str | None] | None:
        """How the attempt has ended, and with which error, if it has."""
