"""A node's files, and what it remembers of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from knit.core.model.deployed import Progress
from knit.core.placement import Installed, Placement
from knit.errors import KnitError


class Disk(Protocol):
    """What is installed on this node, and the one way to install. Keys are those of the source.

    Whatever is written is whole after any death of the process, once `recover` has returned.
    """

    @property
    def installed(self) -> Mapping[str, Installed]:
        """What this node has installed, by key."""

    @property
    def revision(self) -> int | None:
        """The source's revision up to which everything has been looked at."""

    def recover(self) -> None:
        """Make whole what an earlier run left half done. Raises Transient when that is not yet possible."""

    def tidy(self) -> None:
        """Remove what earlier runs have left beside the files that are installed."""

    def drifted(self, keys: Iterable[str]) -> set[str]:
        """The keys whose files are perhaps no longer as installed; cheap, and rather one too many."""

    def holds(self, key: str) -> bool:
        """Whether the key's files are as installed, byte for byte; what others may do with them is set right."""

    def place(self, path: str) -> object:
        """What tells this file from every other one, however its folder is spelled, linked or mounted."""

    def read(self, paths: Sequence[str]) -> tuple[bytes, ...] | None:
        """The bytes in these files; None when one of them is not to be had. Raises Refused for a forbidden place."""

    def install(self, placements: Sequence[Placement]) -> dict[str, KnitError]:
        """Write these pairs, each whole or not at all; returns why some were not.

        Raises Transient when the node's state cannot be written.
        """

    def adopt(self, key: str, record: Installed, progress: Progress | None = None) -> None:
        """Take files that are as published for installed. Unless they were before, a reload is owed for them.

        `progress` is how far they have come, where that is not known yet.
        """

    def forget(self, keys: Collection[str]) -> None:
        """These keys are no longer published: their files stay, and are nobody's."""

    def delete(self, key: str) -> bool:
        """Remove the files of a key that nothing needs any more; False, and kept, where somebody has changed them.

        Raises Transient when the node's state cannot be written.
        """

    def remember(self, revision: int | None) -> None:
        """Everything up to this revision has been looked at. Raises Transient when that cannot be written."""
