"""One pass of a node: read what is published, compare with the files, check, write.

The reload comes after it, and is the caller's. Whatever goes wrong with one key is that key's own: what is
installed for it stays, and the pass goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from knit.core.deploying import is_due
from knit.core.model.deployed import Leaf, Progress
from knit.core.model.places import NodeFile, Place
from knit.core.outputs import Recipe
from knit.core.placement import Installed, Offer, PairFacts, Placement, is_below, judge
from knit.core.takes import place_of
from knit.core.value import Value
from knit.errors import Elsewhere, KnitError, Refused, Transient
from knit.ports.deploying import Ledger
from knit.ports.disk import Disk
from knit.ports.inspection import Inspector
from knit.ports.process import Clock
from knit.ports.recipes import Recipes
from knit.ports.source import Source

log = logging.getLogger(__name__)

CHUNK = 50
"""Pairs in memory at a time: some 200 KB, 12 MB at worst."""

NAMED = 10
"""Keys that one line names; of more it tells how many."""

CLAIMS = 4
"""Places remembered for each pair, at most: of those that it once had, too."""

PATROL = 200
"""Pairs whose files are looked at in one poll, in turn; a look at everything covers them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a pass came to. `complaints` are all that stand, also from earlier passes, by key.

    `remarks` are what is worth a warning about pairs that are written, or would be: an event and its cause.
    """

    looked_at: int
    written: tuple[str, ...]
    complaints: Mapping[str, KnitError]
    remarks: Mapping[str, tuple[str, str]]
    missing: frozenset[str]


class Watch:
    """What one node knows between its passes."""

    def __init__(
        self,
        *,
        source: Source,
        disk: Disk,
        ledger: Ledger,
        node: NodeFile,
        recipes: Recipes,
        keeps: bool,
        roots: tuple[str, ...] | None,
        inspector: Inspector,
        clock: Clock,
    ) -> None:
        self._source = source
        self._disk = disk
        self._ledger = ledger
        self._node = node
        self._recipes = recipes
        self._keeps = keeps
        self._roots = roots
        self._inspector = inspector
        self._clock = clock
        self._index: set[str] = set()
        self._swept = False
        self._empty = False
        self._complaints: dict[str, KnitError] = {}
        self._missing: set[str] = set()
        self._crossed: set[str] = set()
        self._claims: dict[int, str] | None = None
        self._claiming: set[str] = set()
        self._later: set[str] | None = None
        self._written: list[str] = []
        self._remarks: dict[str, tuple[str, str]] = {}
        self._patrol: list[str] = []
        self._settled: dict[str, int] = {}
        self._locked: set[str] = set()
        self._trying: Collection[str] = ()
        self._eager = False

    def hurry(self) -> None:
        """Somebody asks for everything now: the next pass tries again what has failed."""
        self._eager = True

    def run(self, *, sweep: bool) -> Report:
        """One pass: of all that is published with `sweep`, else of what has changed here or there.

        Raises what the source raises, and Transient when the node's state cannot be written; what was
        written until then is in place all the same.
        """
        self._disk.recover()
        revision = self._source.revision()
        keys = self._everything() if sweep or self._lost_the_thread(revision) else self._changes(revision)
        self._written, self._remarks = [], {}
        try:
            self._look_at_all(keys)
        finally:
            self._inspector.close()
            self._claiming.clear()
        if sweep:
            self._disk.tidy()
        self._disk.remember(revision)
        self._swept, self._eager = True, False
        return self._report(len(keys))

    def write(self, keys: Collection[str]) -> Collection[str]:
        """Write what is published of these, also what has failed before; returns those that were written."""
        self._written, self._trying = [], keys
        try:
            self._look_at_all(keys)
        except KnitError as error:
            log.warning("what is published cannot be read again", extra={"cause": str(error)})
        finally:
            self._trying = ()
            self._inspector.close()
            self._claiming.clear()
        return self._written

    def _look_at_all(self, keys: Collection[str]) -> None:
        """Look at every value.

        Those that would replace a pair of other names come last: its rightful value may be among the others.
        """
        self._later = set()
        for chunk in _chunks(sorted(keys)):
            self._look_at(chunk)
        later, self._later = self._later, None
        for chunk in _chunks(sorted(later)):
            self._look_at(chunk)

    def _lost_the_thread(self, revision: int | None) -> bool:
        """Whether the change feed cannot tell what has changed since the last pass."""
        before = self._disk.revision
        if before is not None and revision is not None and revision < before:
            log.warning(
                "the published revision went back: looking at everything", extra={"was": before, "is": revision}
            )
        return not self._swept or bool(self._crossed) or revision is None or before is None or revision < before

    def _everything(self) -> set[str]:
        self._swept = False
        index = self._source.index()
        was_empty, self._empty = self._empty, not index
        if not index and self._disk.installed and not was_empty:
            log.warning("nothing is published: keeping what is installed", extra={"pairs": len(self._disk.installed)})
        elif index:
            self._forget(self._disk.installed.keys() - index)
        self._index = index
        self._crossed = set()
        if len(self._claims or ()) > CLAIMS * len(self._disk.installed) + CHUNK:
            self._claims = None
        self._missing &= index
        for key in self._complaints.keys() - index:
            del self._complaints[key]
        return index

    def _forget(self, keys: Collection[str]) -> None:
        for key in keys:
            self._settled.pop(key, None)
            self._locked.discard(key)
        if keys:
            some = {key: self._disk.installed[key].paths[0] for key in sorted(keys)[:NAMED]}
            fields = {"count": len(keys), "keys": ", ".join(some), "paths": ", ".join(some.values())}
            log.info("no longer published: the files stay, and are no longer looked after", extra=fields)
        self._disk.forget(keys)

    def _changes(self, revision: int | None) -> set[str]:
        since = self._disk.revision
        changed = set() if revision == since or since is None else self._source.changed(since)
        if changed:
            # The index decides: the feed may name what was never, or is no longer, to be installed.
            self._index = self._source.index()
            changed &= self._index
        again = {key for key, error in self._complaints.items() if isinstance(error, Transient)}
        again |= {key for key in self._due() if key in self._index}
        return changed | again | (self._disk.drifted(self._next_patrol()) - self._missing)

    def _due(self) -> list[str]:
        """What has failed, is not in its files, and may be tried again."""
        now, refusals = self._clock(), self._ledger.refusals()
        return [
            key
            for key, refusal in refusals.items()
            if is_due(refusal, now) and (there := self._disk.installed.get(key)) and there.identity != refusal.identity
        ]

    def _next_patrol(self) -> list[str]:
        if not self._patrol:
            self._patrol = [key for key in self._disk.installed if key in self._index]
        patrol, self._patrol = self._patrol[:PATROL], self._patrol[PATROL:]
        return patrol

    def _claimed(self) -> dict[int, str]:
        """Which key has which file, by its place's hash.

        It is kept, so that a change costs no look at all others; `_has` tells whether it still is so.
        """
        claims: dict[int, str] = {}
        for key in sorted(self._disk.installed):
            for path in self._disk.installed[key].paths:
                place = hash(self._disk.place(path))
                owner = claims.setdefault(place, key)
                if owner != key and self._disk.holds(key) and not self._disk.holds(owner):
                    claims[place] = key
        return claims

    def _look_at(self, keys: Sequence[str]) -> None:
        values = self._source.values(keys)
        placements = []
        for key in keys:
            raw = values.get(key)
            if isinstance(raw, bytes) and self._is_settled(key, raw):
                continue
            try:
                placement = self._decide(key, raw)
            except KnitError as error:
                self._complaints[key] = _bare(error)
                continue
            if self._later is not None and key in self._later:
                continue
            self._complaints.pop(key, None)
            if placement is not None:
                placements.append(placement)
            elif isinstance(raw, bytes) and key not in self._locked and key not in self._ledger.refusals():
                self._settled[key] = hash(raw)
        if placements:
            self._install(placements)

    def _is_settled(self, key: str, raw: bytes) -> bool:
        """Whether these very bytes were found to be installed, and the files have not changed since."""
        return (
            self._settled.get(key) == hash(raw)
            and key not in self._complaints
            and key not in self._missing
            and not self._disk.drifted([key])
        )

    def _install(self, placements: Sequence[Placement]) -> None:
        failures = self._disk.install(placements)
        self._complaints.update(failures)
        for placement in placements:
            if placement.key not in failures:
                self._written.append(placement.key)
                if placement.record.made_of is not None:
                    self._claim_all(placement.key, placement.record.paths)
                log.info("pair written", extra={"key": placement.key, "path": placement.record.paths[-1]})

    def _decide(self, key: str, raw: bytes | KnitError | None) -> Placement | None:
        """What to write for this key; None when there is nothing to write. Raises why it is refused."""
        if raw is None:
            self._missing.add(key)
            return None
        self._missing.discard(key)
        if isinstance(raw, KnitError):
            raise raw
        value = Value.from_wire(raw)
        value.verify()
        known = self._disk.installed.get(key)
        offer = Offer.of(key, value, self._recipe(key, value), known=known, name=lambda: self._primary(value))
        self._check_roots(offer)
        # Their passwords may change while the value does not.
        (self._locked.add if offer.seals else self._locked.discard)(key)
        if known is not None and offer.is_installed(known):
            return self._repair(offer, known)
        if self._has_failed(offer):
            return None
        return self._replace(offer, known)

    def _recipe(self, key: str, value: Value) -> Recipe:
        """What is to be made of this value here. Raises Elsewhere when this node does not take it."""
        return self._recipes.of(self._place(key, value))

    def _check_roots(self, offer: Offer) -> None:
        """Raise Elsewhere for a value's own path below no root: what the node file names gives it no leave."""
        if self._roots is None or self._place(offer.key, offer.value).files:
            return
        for path in reversed(offer.paths):
            if not any(is_below(path, root) for root in self._roots):
                raise Elsewhere(f"{path!r} is not below any of KNIT_WATCH_ROOTS")

    def _primary(self, value: Value) -> str | None:
        return self._inspector.facts(value.bundle).primary

    def _sealed(self, offer: Offer) -> Offer:
        """With its key stores made."""
        return offer.sealed([self._inspector.seal(offer.value.bundle, seal) for seal in offer.seals])

    def _has_failed(self, offer: Offer) -> bool:
        """Whether this very pair was put back, and its time to be tried again has not come."""
        refusal = self._ledger.refusals().get(offer.key)
        if refusal is None or refusal.identity != offer.identity or offer.key in self._trying:
            return False
        if not refusal.fault.rolled_back:
            # It is in the files, though the state may have lost that.
            return False
        # What somebody has put back by hand waits for another pair.
        return not is_due(refusal, self._clock()) and not (self._eager and refusal.fault.next_try is not None)

    def _repair(self, offer: Offer, known: Installed) -> Placement | None:
        record = offer.seen(known, self._clock())
        progress = self._known_progress(offer)
        if self._disk.drifted([offer.key]) and not self._disk.holds(offer.key):
            self._check_claims(offer)
            self._claim(offer)
            self._remark(offer, "files differ from what was installed", "somebody has changed or removed them")
            placement = Placement.of(self._sealed(offer), record, known=known)
            return replace(placement, progress=progress)
        self._disk.adopt(offer.key, record, progress)
        if offer.key in self._ledger.refusals() and not any(offer.key in keys for keys in self._ledger.owed().values()):
            self._ledger.forgive([offer.key])
        return None

    def _known_progress(self, offer: Offer) -> Progress:
        """What is known of the pair; that it goes to another place now is not, nor what an earlier knit installed."""
        known, place = self._ledger.progress(offer.key), self._place(offer.key, offer.value).name
        if known is None:
            return self._progress(offer, None)
        return known if known.leaf.place == place else replace(known, leaf=replace(known.leaf, place=place))

    def _place(self, key: str, value: Value) -> Place:
        """Raises Elsewhere when this node does not take it."""
        return place_of(self._node, key, lambda: self._inspector.facts(value.bundle).names)

    def _progress(self, offer: Offer, facts: PairFacts | None, *, written: bool = False) -> Progress:
        """How far this pair has come once it is installed."""
        now = self._clock()
        generation = offer.value.generation_by(now)
        return Progress(
            leaf=_leaf(self._place(offer.key, offer.value).name, facts),
            published_at=None if generation is None else datetime.fromtimestamp(generation, UTC),
            written_at=now if written else None,
        )

    def _replace(self, offer: Offer, known: Installed | None) -> Placement | None:
        self._check_claims(offer)
        found = self._disk.read(offer.paths)
        facts = self._inspector.facts(offer.value.bundle)
        if self._comes_last(offer, facts, found):
            return None
        self._claim(offer)
        if offer.equals(found):
            self._disk.adopt(offer.key, offer.record(facts, known, self._clock()), self._progress(offer, facts))
            # Taken note of how the files look, or every poll would take them for changed.
            self._disk.holds(offer.key)
            return None
        there, opened = self._facts_of(offer, found), self._opened(offer, known)
        now = self._clock()
        for warning in judge(offer, facts, known=known, found=there, now=now):
            self._remark(offer, "date of a published certificate", warning)
        offer = self._sealed(offer)
        record = offer.record(facts, known, now)
        placement = Placement.of(offer, record, known=known, paired=there is not None, opened=opened)
        return replace(placement, progress=self._progress(offer, facts, written=True), keeps=self._keeps)

    def _remark(self, offer: Offer, event: str, cause: str) -> None:
        """Once: what was tried before and could not be done is told as a complaint."""
        if offer.key not in self._complaints:
            self._remarks[offer.key] = (event, cause)

    def _opened(self, offer: Offer, known: Installed | None) -> frozenset[str]:
        """Where key stores lie that open with the password of their place: who lost the memory knows them by it."""
        found = set()
        for output in offer.outputs if known is None else ():
            there = None if output.seal is None else self._disk.read([output.path])
            if output.seal and there and self._inspector.opens(there[0], output.seal):
                found.add(output.path)
        return frozenset(found)

    def _facts_of(self, offer: Offer, found: Sequence[bytes] | None) -> PairFacts | None:
        pair = None if found is None else offer.pair_in(found)
        try:
            return None if pair is None else self._inspector.facts(pair)
        except Refused:
            return None

    def _check_claims(self, offer: Offer) -> None:
        """Raise why this value may not have these files."""
        # Check the key's path last: only the first error is reported, and one about the chain's path tells more.
        places = {path: self._disk.place(path) for path in reversed(offer.paths)}
        _refuse_same(places)
        if self._claims is None:
            self._claims = self._claimed()
        for path, place in places.items():
            owner = self._claims.get(hash(place), offer.key)
            if owner != offer.key and self._has(owner, place):
                # The owner may have moved away or be gone: a look at everything tells.
                if offer.key not in self._complaints:
                    self._crossed.add(offer.key)
                raise Transient(f"{path!r} belongs to {owner!r} already: {offer.key!r} must name another file")

    def _has(self, key: str, place: object) -> bool:
        """Whether this is, or is going to be, one of the files of this key, which is published."""
        if key in self._claiming:
            return True
        known = self._disk.installed.get(key)
        return known is not None and key in self._index and any(self._disk.place(path) == place for path in known.paths)

    def _claim(self, offer: Offer) -> None:
        self._claiming.add(offer.key)
        self._claim_all(offer.key, offer.paths)

    def _claim_all(self, key: str, paths: Sequence[str]) -> None:
        """These are the key's. A folder that was made or replaced is another place than before."""
        assert self._claims is not None
        for path in paths:
            self._claims[hash(self._disk.place(path))] = key

    def _comes_last(self, offer: Offer, facts: PairFacts, found: Sequence[bytes] | None) -> bool:
        """Whether another value may have a better right to these files, that of the pair which lies there.

        Also without a memory a newcomer then takes no pair's files while their value is still published.
        """
        assert self._claims is not None
        if self._later is None or self._claims.get(hash(self._disk.place(offer.paths[-1]))) == offer.key:
            return False
        there = None if offer.equals(found) else self._facts_of(offer, found)
        if there is None or there.names == facts.names:
            return False
        self._later.add(offer.key)
        return True

    def _report(self, looked_at: int) -> Report:
        return Report(
            looked_at=looked_at,
            written=tuple(self._written),
            complaints=dict(self._complaints),
            remarks=self._remarks,
            missing=frozenset(self._missing),
        )


def _leaf(place: str, facts: PairFacts | None) -> Leaf:
    if facts is None:
        return Leaf(place=place)
    return Leaf(
        place=place,
        name=facts.primary or min(facts.names, default=None),
        serial=facts.serial,
        fingerprint=facts.fingerprint,
        key_kind=facts.key_kind,
    )


def _bare(error: KnitError) -> KnitError:
    """Without what was at hand when it was raised: complaints are kept, and values are large."""
    error.__context__ = None
    return error.with_traceback(None)


def _refuse_same(places: Mapping[str, object]) -> None:
    """Raise Refused when two of these paths lead to one file."""
    first: dict[object, str] = {}
    for path, place in places.items():
        other = first.setdefault(place, path)
        if other != path:
            raise Refused(f"{other!r} and {path!r} are the same file")


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
