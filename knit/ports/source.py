"""Where a node's values come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from knit.errors import KnitError


class Source(Protocol):
    """What is published, as a node reads it; nothing is ever written here.

    Values are bytes as published and nobody's word: the node parses and checks them. Every method raises Unreachable,
    CredentialsRejected or Refused when the source gives no answer.
    """

    def revision(self) -> int | None:
        """A number that grows with every change; None when the source counts none. With this question a pass begins.

        A number lower than before says that changes can have been lost: the node looks at everything.
        """

    def changed(self, since: int) -> set[str]:
        """Keys that have changed after this revision; it may name some that are no longer, or never were, published."""

    def index(self) -> set[str]:
        """All keys that are published."""

    def values(self, keys: Sequence[str]) -> dict[str, bytes | KnitError]:
        """The raw values of these keys; those that have none are left out.

        An error stands for a key whose value is not to be had: Elsewhere when it is not this node's affair.
        """
