"""Commands of the operator's that a node runs: a place's check and its reload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended. `failure` None: it succeeded; `output` is what it printed, cut at 64 KiB."""

    failure: str | None
    output: str


class Commands(Protocol):
    """Runs them, one at a time, each bounded in time and output, and without knit's own variables."""

    def run(self, command: str) -> Ran:
        """Run `sh -c command` to its end. Nothing is raised for what the command does."""
