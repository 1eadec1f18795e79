"""A look into a certificate and its key."""

from __future__ import annotations

from typing import Protocol

from knit.core.model.certificate import Bundle
from knit.core.outputs import Seal
from knit.core.placement import PairFacts


class Inspector(Protocol):
    """Tells what a pair says of itself, and whether a server can read it."""

    def facts(self, pair: Bundle) -> PairFacts:
        """What a pair says of itself. Raises BundleMismatch when it is no pair, Transient when nobody could look."""

    def seal(self, pair: Bundle, seal: Seal) -> bytes:
        """A key store that holds this pair, other bytes each time. Raises BundleMismatch, Transient as `facts`."""

    def opens(self, store: bytes, seal: Seal) -> bool:
        """Whether these bytes are a key store that this seal's password opens. Raises Transient as `facts`."""

    def close(self) -> None:
        """The pass is over: give up what was held for the next question."""
