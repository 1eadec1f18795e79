"""Which published pair belongs in which files: decided here, carried out by the node.

Paths come out of Valkey. Whoever can write there must not gain more on a node than to offer certificates, so every
path is checked against rules that are the node's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn

from knit.core.digest import contents_digest
from knit.core.forbidden import never, replaceable
from knit.core.model.certificate import Bundle, CertId
from knit.core.model.deployed import Progress
from knit.core.model.places import Content, Layout
from knit.core.outputs import ORDINARY, File, Output, Recipe, Seal, pair_in
from knit.core.value import Value
from knit.errors import Refused

MAX_PATH = 4096
OWN = "/.knit-"
"""Begins the names that only knit itself gives, to files and to folders."""

_NOTHING = re.compile(r"/(\.?/)+")

SKEW = 60
"""Seconds that the centre's clock may be ahead of a node's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """What a pair, found to be one, says of itself. `primary` is the name that stands for it; None: it has no names.

    `serial` and `fingerprint` as in `Deployed`; `key_kind` is `ec` or `rsa`, None for a key of another kind.
    """

    names: frozenset[str]
    primary: str | None
    not_before: datetime
    not_after: datetime
    self_issued: bool
    serial: str | None = None
    fingerprint: str | None = None
    key_kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What a node has put where, for one key.

    `sha256` is that of all contents together, `made_of` what they were made of, where that is not the same; `files`
    begin with the key's. `cert_id` and `generation` are the highest seen, if any had one.
    """

    sha256: str
    files: tuple[File, ...]
    not_before: datetime
    not_after: datetime
    cert_id: CertId | None = None
    generation: int | None = None
    made_of: str | None = None

    @property
    def identity(self) -> str:
        """What tells the same contents, made in the same way, from all others."""
        return self.made_of or self.sha256

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the files, in their order."""
        return tuple(file.path for file in self.files)

    def is_as(self, other: Installed) -> bool:
        """Whether it is the same pair in the same files."""
        return (self.sha256, self.paths) == (other.sha256, other.paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A value and what is to be installed of it, with all paths checked.

    `kinds` tell what is in the outputs; `made_of` as in `Installed`; `flip` and `create_dirs` as in `Placement`.
    """

    key: str
    value: Value
    outputs: tuple[Output, ...]
    kinds: tuple[Content, ...] = (Content.PRIVKEY, Content.FULLCHAIN)
    made_of: str | None = None
    flip: bool = False
    create_dirs: bool = False

    @classmethod
    def of(
        cls,
        key: str,
        value: Value,
        recipe: Recipe = ORDINARY,
        *,
        known: Installed | None = None,
        name: Callable[[], str | None] = lambda: None,
    ) -> Offer:
        """What this recipe makes of the value. `name` tells its primary name, where that is not known yet.

        Raises Refused for a path that no value may name, and what `name` raises.
        """
        made_of = recipe.identity(value)
        same = known is not None and made_of is not None and known.made_of == made_of
        # Made of the same, it is in the same files: nobody has to look into the certificate for its name.
        outputs = recipe.outputs(value, name() if recipe.needs_name and not same else "installed")
        if known is not None and same:
            outputs = tuple(replace(one, path=path) for one, path in zip(outputs, known.paths, strict=True))
        return cls(
            key=key,
            value=value,
            outputs=_checked(outputs),
            kinds=recipe.kinds,
            made_of=made_of,
            flip=recipe.place.layout is Layout.FLIP,
            create_dirs=recipe.place.create_dirs,
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the outputs, in their order."""
        return tuple(output.path for output in self.outputs)

    @property
    def files(self) -> tuple[File, ...]:
        """What is remembered of the outputs."""
        return tuple(output.file for output in self.outputs)

    @property
    def identity(self) -> str:
        """That of the record, once it is installed."""
        return self.made_of or self.sha256

    @property
    def sha256(self) -> str:
        """The hash of all contents together; not to be asked for while `seals` are open."""
        return contents_digest([output.content for output in self.outputs])

    @property
    def seals(self) -> tuple[Seal, ...]:
        """The key stores that are still to be made."""
        return tuple(output.seal for output in self.outputs if output.seal is not None)

    def sealed(self, stores: Sequence[bytes]) -> Offer:
        """With these key stores, one for each of `seals`."""
        ready = iter(stores)
        outputs = [
            output if output.seal is None else replace(output, content=next(ready), seal=None)
            for output in self.outputs
        ]
        return replace(self, outputs=tuple(outputs))

    def is_installed(self, known: Installed | None) -> bool:
        """Whether this pair was put into these files, made as it would be made now."""
        if known is None or known.files != self.files or known.made_of != self.made_of:
            return False
        return self.made_of is not None or known.sha256 == self.sha256

    def equals(self, found: Sequence[bytes] | None) -> bool:
        """Whether these are the bytes on disk; of a place's files also owners and rights count, so they never are."""
        return self.made_of is None and found is not None and list(found) == [one.content for one in self.outputs]

    def pair_in(self, found: Sequence[bytes]) -> Bundle | None:
        """The pair that lies in these files, as far as they are plain."""
        return pair_in(self.kinds, found)

    def record(self, facts: PairFacts, known: Installed | None, now: datetime) -> Installed:
        """What to remember once it is installed; a generation once seen is not forgotten."""
        record = Installed(
            sha256=self.sha256,
            files=self.files,
            not_before=facts.not_before,
            not_after=facts.not_after,
            made_of=self.made_of,
        )
        return self.seen(
            record if known is None else replace(record, cert_id=known.cert_id, generation=known.generation), now
        )

    def seen(self, known: Installed, now: datetime) -> Installed:
        """The record with this value's generation, if it has one. One that cannot be counts as the lowest."""
        mark = self.value.mark
        if mark is None:
            return known
        if not plausible(mark.generation, now):
            return replace(known, generation=known.generation or 0)
        same = known.cert_id == mark.cert_id and known.generation is not None and plausible(known.generation, now)
        highest = max(mark.generation, known.generation or 0) if same else mark.generation
        return replace(known, cert_id=mark.cert_id, generation=highest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A pair to be written, and what to remember then.

    `known` is what this node installed for the key before; `paired`: what lies there was found to be a pair. `opened`
    are paths where a key store lies that opens with the place's own password. With `flip` all files are in one folder,
    which is replaced as a whole; with `create_dirs` missing folders are made. With `keeps`, what lies there is kept
    where it was good; unless `owed`, its server has it loaded already.
    """

    key: str
    outputs: tuple[Output, ...]
    record: Installed
    progress: Progress | None = None
    keeps: bool = False
    owed: bool = True
    known: Installed | None = None
    paired: bool = False
    opened: frozenset[str] = field(default=frozenset())
    flip: bool = False
    create_dirs: bool = False

    @classmethod
    def of(
        cls,
        offer: Offer,
        record: Installed,
        *,
        known: Installed | None,
        paired: bool = False,
        opened: frozenset[str] = frozenset(),
    ) -> Placement:
        """This offer, whose seals are closed; `record` is what is to be remembered of it but for its contents."""
        record = replace(record, sha256=offer.sha256, made_of=offer.made_of)
        return cls(
            key=offer.key,
            outputs=offer.outputs,
            record=record,
            known=known,
            paired=paired,
            opened=opened,
            flip=offer.flip,
            create_dirs=offer.create_dirs,
        )

    def may_replace(self, path: str, occupant: Callable[[], bytes | None]) -> bool:
        """Whether what lies there is this node's own, or a certificate or key; not, when nobody can read it."""
        if path in self.opened or (self.known is not None and path in self.known.paths):
            return True
        data = occupant()
        return data is not None and replaceable(data, paired=self.paired)


def spelled(path: str) -> str:
    """The path without doubled slashes and single dots: two spellings of one file are one file."""
    return _NOTHING.sub("/", path)


def is_below(path: str, folder: str) -> bool:
    """Whether this is the folder, or named as something in it; both are clean."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def target(path: str) -> str:
    """The path without doubled slashes and single dots. Raises Refused when no value may name it."""
    if not path.startswith("/") or path.endswith(("/", "/.")):
        _refuse(f"{path!r} is not the absolute path of a file")
    if not path.isprintable() or len(path) > MAX_PATH:
        _refuse(f"{path[:100]!r} is not a sensible path")
    if ".." in path.split("/"):
        _refuse(f"{path!r} contains ..")
    clean = spelled(path)
    if never(clean) or OWN in clean:
        _refuse(f"{clean!r} is a file that knit never writes")
    return clean


def _checked(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """With clean paths. Raises Refused for one that no value may name, and for two that are the same."""
    # The key's path last: only the first error is reported, and one about the chain's path tells more.
    clean = tuple(replace(output, path=target(output.path)) for output in reversed(outputs))[::-1]
    _refuse_same(output.path for output in clean)
    return clean


def _refuse_same(paths: Iterable[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            _refuse(f"two of its files are the same file {path!r}")
        seen.add(path)


def judge(
    offer: Offer, facts: PairFacts, *, known: Installed | None, found: PairFacts | None, now: datetime
) -> list[str]:
    """Decide whether the pair may replace what is there; returns what is worth a warning.

    `known` is what this node installed for the key; `found` the pair that lies there when it installed none.
    Raises Refused when what is there is better: a replica that lags or was restored must not bring back old pairs.
    But nothing that was published once may keep out what comes after it for long: a pair that cannot be served now
    does not keep out one that can, and a generation from the future does not count.
    """
    there = known or _comparable(facts, found)
    if there is not None and not (_serves(facts, now) and not _serves(there, now)):
        grown = known is not None and _generation_grown(offer, known, now)
        _refuse_older(facts, there, grown=grown, now=now)
    return _date_warnings(facts, now)


def _serves(pair: PairFacts | Installed, now: datetime) -> bool:
    return pair.not_before <= now < pair.not_after


def _generation_grown(offer: Offer, known: Installed, now: datetime) -> bool:
    mark = offer.value.mark
    if mark is None or known.generation is None or not plausible(mark.generation, now):
        return False
    if not plausible(known.generation, now):
        return True
    if mark.generation < known.generation and known.cert_id == mark.cert_id:
        _refuse(f"generation {mark.generation} is older than generation {known.generation}, which is installed")
    return mark.generation > known.generation


def plausible(generation: int, now: datetime) -> bool:
    """Whether knit can have given this generation, which is the second of a publication or just above the last one."""
    return generation <= now.timestamp() + SKEW


def _comparable(facts: PairFacts, found: PairFacts | None) -> PairFacts | None:
    # A placeholder that a package or a script made is never better than a published pair, however young it is.
    return None if found is None or found.self_issued or found.names != facts.names else found


def _refuse_older(facts: PairFacts, there: Installed | PairFacts, *, grown: bool, now: datetime) -> None:
    older = (facts.not_before, facts.not_after) < (there.not_before, there.not_after)
    if older and not grown and there.not_after > now:
        _refuse(f"its certificate (from {facts.not_before:%F %T}) is older than the installed one")
    if facts.not_after <= now and there.not_after >= facts.not_after:
        _refuse(f"its certificate expired at {facts.not_after:%F %T} and the installed one is as good")


def _date_warnings(facts: PairFacts, now: datetime) -> list[str]:
    # Only warnings: it may be the node's clock that is wrong.
    if facts.not_after <= now:
        return [f"the certificate expired at {facts.not_after:%F %T}, or this node's clock is wrong"]
    if facts.not_before > now:
        return [f"the certificate is not valid before {facts.not_before:%F %T}, or this node's clock is wrong"]
    return []


def _refuse(why: str) -> NoReturn:
    raise Refused(why)
