"""What CAs suggest about renewal (RFC 9773): who is asked, and where the answers are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from knit.core.ari import Answer, Outcome, Question


class Adviser(Protocol):
    """A CA that may say when it would have its certificates renewed."""

    def renewal_info(self, ari_id: str) -> Answer | None:
        """What it says of this certificate; None where it offers no renewal information at all.

        Raises Unreachable, and RateLimited, when it cannot be asked for now, and Refused when it says nothing of this
        one.
        """


class Advisers(Protocol):
    """Finds the CA behind an issuer's name."""

    def adviser(self, issuer: str) -> Adviser | None:
        """Who tells renewal times; None where the issuer is of a kind that suggests nothing.

        Raises Misconfigured when it cannot be opened.
        """


class RenewalInfos(Protocol):
    """What has been said, and what is to be asked when."""

    def due(self) -> bool:
        """Whether there is anything to ask now."""

    def take(self, most: int) -> Sequence[Question]:
        """Certificates to ask about now, those that wait longest first. Nobody else is given them for ten minutes."""

    def give_back(self, questions: Sequence[Question]) -> None:
        """These certificates were not asked about: somebody else may."""

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """What became of these questions. A certificate that is to be renewed sooner by that is looked at then."""
