"""How a flow has names proved: with a DNS provider that is not needed for an order that is finalized, and a count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

from knit.core.model.challenge import Challenge
from knit.ports.journal import Forgiven, OpenJournal
from knit.ports.solving import Prover

FORGIVEN: Final = Forgiven(4, timedelta(hours=1))
"""Where a CA's limits do not say: Let's Encrypt refuses the account's sixth in an hour."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The port Prover: what `open_prover` gives, asked for when it is needed."""

    open_prover: Callable[[], Prover]
    journal: OpenJournal
    forgiven: Forgiven = FORGIVEN

    @cached_property
    def _inner(self) -> Prover:
        return self.open_prover()

    @contextmanager
    def opened(self, lock: str | None) -> Iterator[None]:
        """With what an earlier try met taken, if it did. Raises Busy, Misconfigured.

        So a certificate whose turn has not come costs the CA nothing, nor does one whose credentials are missing.
        """
        inner = self._inner
        with nullcontext() if lock is None else inner.having(lock):
            yield

    def having(self, lock: str) -> AbstractContextManager[None]:
        """See the port."""
        return self._inner.having(lock)

    def rounds(self, challenges: Sequence[Challenge]) -> Sequence[Sequence[Challenge]]:
        """See the port. Raises Misconfigured when the DNS provider cannot be opened."""
        return self._inner.rounds(challenges)

    @contextmanager
    def proving(self, challenges: Sequence[Challenge]) -> Iterator[None]:
        """See the port. Raises RateLimited while a name has failed too often."""
        with self._inner.proving(challenges):
            self.journal.validating([challenge.identifier for challenge in challenges], self.forgiven)
            yield
