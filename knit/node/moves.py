"""What the journal knows of a pair on its way: file by file, the key's first."""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
from dataclasses import dataclass, replace

from knit.core.model.deployed import Progress
from knit.core.outputs import Output
from knit.core.placement import Installed, Placement
from knit.node.records import from_fields, to_fields
from knit.node.versions import digest_of, number_of

_MARK = re.compile(r"([0-9a-f]{8}-)?[0-9a-f]{16}-(key|chain|[0-9a-f]{16})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
TEMPORARY = re.compile(rf"\.knit-{_MARK.pattern}\.(new|old)\.tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a pair, or a link to a folder with all of them.

    `mark` is the part of its temporary names that is its own; that of a link ends in the number of its version.
    `had_old` is None until it is known whether there was a file before.
    """

    path: str
    sha256: str
    mark: str
    had_old: bool | None = None

    @property
    def is_link(self) -> bool:
        """Whether it is a link to a version of a certificate's folder (see `knit.node.versions`)."""
        return not self.mark.endswith(("-key", "-chain"))

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
    """One pair on its way, and what to remember once it is there. Its files are renamed in the order of `parts`.

    `owed`: a reload must follow.
    """

    key: str
    parts: tuple[Part, ...]
    record: Installed
    progress: Progress | None = None
    owed: bool = True

    @classmethod
    def of(cls, placement: Placement, node: str) -> Move:
        """With temporary names that are always the same for these files of this node: none can pile up.

        The versions of a folder each have their own: who still has an old one open must not find a new file in it.
        """
        if placement.flip:
            return cls(key=placement.key, parts=(_link(placement, node),), record=placement.record)
        parts = tuple(_part(output, node, _label(number)) for number, output in enumerate(placement.outputs))
        return cls(
            key=placement.key, parts=parts, record=placement.record, progress=placement.progress, owed=placement.owed
        )

    def found(self, *had_old: bool) -> Move:
        """With what is known about the files that were there before."""
        parts = tuple(replace(part, had_old=had) for part, had in zip(self.parts, had_old, strict=True))
        return replace(self, parts=parts)

    @property
    def is_going(self) -> bool:
        """Whether its files may have been renamed: all new ones were whole then."""
        return self.parts[0].had_old is not None

    def to_json(self) -> list[object]:
        """The move as it begins."""
        return [self.key, [[part.path, part.sha256, part.mark] for part in self.parts], to_fields(self.record)]

    @classmethod
    def from_json(cls, key: str, parts: object, fields: object) -> Move:
        """The move from JSON. Raises ValueError for what is not a move."""
        match parts:
            case [_, *_]:
                return cls(key=key, parts=tuple(map(_read, parts)), record=from_fields(fields))
        raise ValueError("not the parts of a move")


def is_temporary(path: str) -> bool:
    """Whether this can be a file that a deployment made beside its place: no other may ever be removed."""
    folder, _, name = path.rpartition("/")
    return folder.startswith("/") and "\0" not in path and TEMPORARY.fullmatch(name) is not None


def sha256(data: bytes) -> str:
    """As the journal knows a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def _part(output: Output, node: str, label: str) -> Part:
    mark = f"{node}-{sha256(output.path.encode())[:16]}-{label}"
    return Part(path=output.path, sha256=sha256(output.content), mark=mark)


def _link(placement: Placement, node: str) -> Part:
    folder = posixpath.dirname(placement.outputs[0].path)
    mark = f"{node}-{number_of(folder)}-{secrets.token_hex(8)}"
    contents = [(posixpath.basename(output.path), output.content) for output in placement.outputs]
    return Part(path=folder, sha256=digest_of(contents), mark=mark)


def _label(number: int) -> str:
    # The hash of the path tells the others apart; an earlier knit clears away temporary files of these two labels.
    return "chain" if number else "key"


def _read(part: object) -> Part:
    match part:
        case [str(path), str(digest), str(mark)] if _MARK.fullmatch(mark) and _SHA256.fullmatch(digest):
            if path.startswith("/") and "\0" not in path:
                return Part(path=path, sha256=digest, mark=mark)
    raise ValueError("not the part of a move")
