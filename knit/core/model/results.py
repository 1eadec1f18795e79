"""How the work that a message asks for has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from knit.core.model.attempt import Outcome
from knit.core.model.certificate import CertId


@dataclass(frozen=True, slots=True, kw_only=True)
class PassPlan:
    """Which certificates a pass gives to workers, the most urgent first. `unadoptable` rows clash and were left out.

    `due`: how many of them are to be renewed; the others have old challenge records to remove, and nothing else.
    `asked`: those among them that an earlier pass has asked workers for already. `refused` says why this process may
    not have anything issued.
    """

    renew: tuple[CertId, ...]
    unadoptable: int
    due: int = 0
    asked: frozenset[CertId] = frozenset()
    refused: str | None = None

    @property
    def trouble(self) -> int:
        """How many things a person must look at."""
        return self.unadoptable + (self.refused is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """What a publication did. `refused` is the guard's sentence when it stopped a prune."""

    published: tuple[CertId, ...] = ()
    refreshed: tuple[CertId, ...] = ()
    pruned: int = 0
    failed: int = 0
    refused: str | None = None

    @property
    def trouble(self) -> int:
        """How many things a person must look at."""
        return self.failed + (self.refused is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """About how many certificates CAs were asked when they would have them renewed. `more`: others wait to be asked.

    `down` are issuers that could not be asked, and why; `up`, those that answered.
    """

    asked: int
    more: bool
    down: Mapping[str, Exception]
    up: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoking:
    """How many certificates were copied, were revoked, and could not be, be it for now. `more`: others wait."""

    copied: int = 0
    revoked: int = 0
    failed: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """What a message asked for was not done, and nobody tries it again. `what` names the actor, `about` its words."""

    what: str
    about: tuple[object, ...]
    error: Exception


Result = PassPlan | Outcome | Publishing | Revoking | GivenUp
