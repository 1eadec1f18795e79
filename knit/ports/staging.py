"""Keys and bundles on their way from the CA to publication."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from knit.core.model.attempt import AttemptId
from knit.core.model.certificate import Bundle


class Staging(Protocol):
    """Keys, and then whole bundles, between the attempt that made them and their publication."""

    def put(self, attempt: AttemptId, bundle: Bundle) -> None:
        """Keep the bundle durably (an empty fullchain while only the key exists)."""

    def get(self, attempt: AttemptId) -> Bundle | None:
        """What was put, or None when it is gone."""

    def bundles(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, Bundle]:
        """The bundles that are there and have a chain, in one round trip."""

    def discard(self, attempts: Iterable[AttemptId]) -> None:
        """Forget them."""
