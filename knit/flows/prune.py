"""Take out of Valkey what was removed, and what nothing explains."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from knit.core import publication
from knit.core.publication import Unexplained
from knit.core.value import Value
from knit.errors import BundleMismatch, UnsafePublish
from knit.ports.leases import Lease
from knit.ports.passes import Passes, Removals
from knit.ports.publication import Home, Publication, Stored

log = logging.getLogger(__name__)

NAMED = 10
"""Keys that one line of the log names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was pruned, what of the rest nothing explains, and what in the index this installation did not write.

    `unseen` are wanted keys that the index lacks. `refused` is the guard's sentence.
    """

    count: int
    unexplained: Mapping[str, Unexplained]
    foreign: frozenset[str]
    unseen: frozenset[str]
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """The flow with its ports. `installation` is our id.

    Every value goes only while it is what was read before the list was asked: one that is published meanwhile, for a
    certificate that was added again, is another.
    """

    installation: str
    home: Home
    store: Passes
    publication: Publication

    def run(self, lease: Lease, *, confirmed: bool = False) -> Pruned:
        """`confirmed`: a person has said that what nothing explains need not be kept."""
        index = self.publication.survey().members
        asked, removed = self._removals(lease, index)
        removed += self._withdrawals(lease, asked.suspects)
        found = self._look(index, asked)
        ripe = publication.ripe(found.unexplained, asked.at, confirmed=confirmed)
        try:
            publication.guard(ripe, live=len(index), confirmed=confirmed)
        except UnsafePublish as error:
            log.error("prune refused", extra={"error": str(error)})  # noqa: TRY400 -- the error's text is the whole story
            return self._result(found, removed, refused=str(error))
        return self._result(found, removed + self._gone(lease, ripe, found.tokens))

    def preview(self) -> Pruned:
        """What a prune would find, with nothing removed."""
        return self._result(self._look(self.publication.survey().members, self.store.removals()), 0)

    def _look(self, index: frozenset[str], asked: Removals) -> _Found:
        """What of the index nothing explains, and since when; reported, and remembered."""
        wanted = self.store.wanted_keys()
        stored = self.publication.look(sorted(index - wanted - asked.keys))
        valid = {key: self._is_good_of_ours(one, asked.at) for key, one in stored.items()}
        tokens = {key: one.token for key, one in stored.items() if valid[key] is not None}
        since = self.home.unexplained(tokens) if tokens or asked.noted else {}
        unexplained = {key: Unexplained(since=at, valid=bool(valid[key])) for key, at in since.items()}
        foreign = frozenset(key for key, ours in valid.items() if ours is None)
        found = _Found(tokens=tokens, unexplained=unexplained, foreign=foreign, unseen=wanted - index)
        self._report(found)
        return found

    def _report(self, found: _Found) -> None:
        if found.unexplained:
            first = min(one.until for one in found.unexplained.values())
            extra = {"keys": len(found.unexplained), "first": _some(found.unexplained), "kept_until": first}
            log.warning("values without a certificate", extra=extra)
        if found.foreign:
            extra = {"keys": len(found.foreign), "first": _some(found.foreign)}
            log.warning("values that this installation did not write", extra=extra)

    def _removals(self, lease: Lease, index: frozenset[str]) -> tuple[Removals, int]:
        """Remove what somebody removed or disabled, whether the index still has it or not."""
        before = self.store.removals()
        if not before.keys:
            return before, 0
        stored = self.publication.look(sorted(before.keys))
        # Read once more after the values: what is published from here on is not what was looked at.
        asked = self.store.removals()
        alien = {key for key in stored.keys() - index if publication.is_foreign(stored[key].raw, self.installation)}
        tokens = {key: one.token for key, one in stored.items() if key in asked.keys - alien}
        lease.check()
        gone = self.publication.prune(tokens)
        self.store.clear_removals(gone | alien, asked.at)
        count = sum(tokens[key] != "" for key in gone)
        if count:
            log.info("pruned", extra={"keys": count})
        return asked, count

    def _withdrawals(self, lease: Lease, suspects: frozenset[str]) -> int:
        """Remove values with a compromised key that came back after better ones had been published."""
        if not suspects:
            return 0
        compromised = self.home.compromised()
        recorded = {issued.valkey_key: issued.sha256 for _, issued in self.store.recorded(suspects)}
        back = {
            key: one.token
            for key, one in self.publication.look(sorted(recorded)).items()
            if (seen := _fingerprint(one.raw)) and seen[0] != recorded[key] and seen[1] in compromised
        }
        if not back:
            return 0
        lease.check()
        gone = self.publication.prune(back)
        log.warning("values with a compromised key withdrawn", extra={"keys": len(gone), "first": _some(gone)})
        return len(gone)

    def _gone(self, lease: Lease, ripe: frozenset[str], tokens: Mapping[str, str]) -> int:
        if not ripe:
            return 0
        lease.check()
        gone = self.publication.prune({key: tokens[key] for key in sorted(ripe)})
        log.info("pruned", extra={"keys": len(gone), "unexplained": len(gone), "first": _some(gone)})
        return len(gone)

    def _is_good_of_ours(self, stored: Stored, now: datetime) -> bool | None:
        """As the function of this name; an index member without a value is no loss, so it counts as ours and spoilt."""
        return publication.is_good_of_ours(stored.raw, self.installation, now) if stored.token else False

    def _result(self, found: _Found, count: int, refused: str | None = None) -> Pruned:
        return Pruned(
            count=count,
            unexplained=found.unexplained,
            foreign=found.foreign,
            unseen=found.unseen,
            refused=refused,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    tokens: Mapping[str, str]
    unexplained: Mapping[str, Unexplained]
    foreign: frozenset[str]
    unseen: frozenset[str]


def _fingerprint(raw: bytes) -> tuple[str, str] | None:
    """The hash of the pair and that of its public key; None for what is no value."""
    from knit.core import x509  # Few passes look into a certificate.

    try:
        value = Value.from_wire(raw)
        return value.sha256, x509.leaf(value.fullchain).spki_sha256
    except BundleMismatch:
        return None


def _some(keys: Mapping[str, object] | frozenset[str]) -> str:
    return ",".join(sorted(keys)[:NAMED])
