"""What the journal knows of a pair on its way: key first, then chain."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from knit.core.placement import Installed, Placement
from knit.node.records import from_fields, to_fields

_MARK = re.compile(r"([0-9a-f]{8}-)?[0-9a-f]{16}-(key|chain)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
TEMPORARY = re.compile(rf"\.knit-{_MARK.pattern}\.(new|old)\.tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a pair. `mark` is the part of its temporary names that is its own.

    `had_old` is None until it is known whether there was a file before.
    """

    path: str
    sha256: str
    mark: str
    had_old: bool | None = None

    @property
    def new(self) -> str:
        """Where the new bytes wait."""
        return f".knit-{self.mark}.new.tmp"

    @property
    def old(self) -> str:
        """The old file's second name."""
        return f".knit-{self.mark}.old.tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One pair on its way, and what to remember once it is there."""

    key: str
    parts: tuple[Part, Part]
    record: Installed

    @classmethod
    def of(cls, placement: Placement, node: str) -> Move:
        """With temporary names that are always the same for these files of this node: none can pile up."""
        pair, record = placement.bundle, placement.record
        parts = (
            _part(record.key_path, pair.privkey, f"{node}-{{}}-key"),
            _part(record.cert_path, pair.fullchain, f"{node}-{{}}-chain"),
        )
        return cls(key=placement.key, parts=parts, record=record)

    def found(self, *had_old: bool) -> Move:
        """With what is known about the files that were there before."""
        key, chain = self.parts
        return replace(self, parts=(replace(key, had_old=had_old[0]), replace(chain, had_old=had_old[1])))

    @property
    def is_going(self) -> bool:
        """Whether its files may have been renamed: both new ones were whole then."""
        return self.parts[0].had_old is not None

    def to_json(self) -> list[object]:
        """The move as it begins."""
        return [self.key, [[part.path, part.sha256, part.mark] for part in self.parts], to_fields(self.record)]

    @classmethod
    def from_json(cls, key: str, parts: object, fields: object) -> Move:
        """Raises ValueError when it is none."""
        match parts:
            case [[str(), str(), str()] as first, [str(), str(), str()] as second]:
                return cls(key=key, parts=(_read(*first), _read(*second)), record=from_fields(fields))
        raise ValueError("not the parts of a move")


def is_temporary(path: str) -> bool:
    """Whether this can be a file that a deployment made beside its place: no other may ever be removed."""
    folder, _, name = path.rpartition("/")
    return folder.startswith("/") and "\0" not in path and TEMPORARY.fullmatch(name) is not None


def sha256(data: bytes) -> str:
    """As the journal knows a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def _part(path: str, data: bytes, mark: str) -> Part:
    return Part(path=path, sha256=sha256(data), mark=mark.format(sha256(path.encode())[:16]))


def _read(path: str, digest: str, mark: str) -> Part:
    if not path.startswith("/") or "\0" in path or not _MARK.fullmatch(mark) or not _SHA256.fullmatch(digest):
        raise ValueError("not the part of a move")
    return Part(path=path, sha256=digest, mark=mark)
