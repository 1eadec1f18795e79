"""Which certificates a node takes, into which place each goes, and the paths of its files there."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile

from knit.core.model.places import FileSpec, Layout, NodeFile, Place, Take
from knit.core.outputs import NAME
from knit.core.placement import target
from knit.errors import Elsewhere, Refused

LONGEST_PART = 255
"""Bytes of one part of a path, on every file system that matters."""

GLOB = frozenset("*?[")
_END = re.compile(r".*[*?\]]", re.DOTALL)
"""All but the letters at the end of a glob that stand for themselves."""


def place_of(node: NodeFile, key: str, names: Callable[[], Collection[str]]) -> Place:
    """The place of the certificate with this Valkey key: that of the first take that fits.

    `names` gives the certificate's names, and is called only where a take asks for them. Raises Elsewhere where no
    take fits: the certificate is for other nodes.
    """
    if not node.takes:
        (only,) = node.places.values()
        return only
    for take in node.takes:
        if _fits(take, key, names):
            return node.places[take.place]
    raise Elsewhere(f"no take of this node fits {key!r}")


def _fits(take: Take, key: str, names: Callable[[], Collection[str]]) -> bool:
    if any(fnmatchcase(key, glob) for glob in take.keys):
        return True
    if take.names:
        return any(fnmatchcase(name, glob) for name in names() for glob in take.names)
    return not take.keys


def path_of(spec: FileSpec, name: str) -> str:
    """The path of a file of the certificate with this name (see `file_name`). Raises Refused."""
    path = target(spec.path.replace(NAME, name))
    if any(len(part.encode()) > LONGEST_PART for part in path.split("/")):
        raise Refused(f"{path!r} has a part of more than {LONGEST_PART} bytes")
    return path


def folders_of(places: Iterable[Place]) -> tuple[str, ...]:
    """The folders that a node file names, in which its files are written; those of one certificate are below them."""
    folders = (_fixed(one.path, place.layout) for place in places for one in place.files)
    return tuple(sorted(set(folders)))


def _fixed(path: str, layout: Layout) -> str:
    folder = path.rpartition("/")[0]
    if layout is Layout.FLIP:
        # The last one is replaced whole, in the one above it.
        folder = folder.rpartition("/")[0]
    return folder or "/"


def takes_one(takes: Iterable[Take]) -> bool:
    """Whether these takes of a place name a single certificate: one key or one name, without a glob."""
    globs = [glob for take in takes for glob in (*take.keys, *take.names) or ("*",)]
    return len(globs) == 1 and GLOB.isdisjoint(globs[0])


def unreachable(takes: Sequence[Take]) -> tuple[int, int] | None:
    """The first take that no certificate can reach, and the first of those before it that leave it none.

    Both as numbers counted from 0.
    """
    before = _Before()
    for number, take in enumerate(takes):
        by = [before.covering(kind, glob) for kind, glob in _patterns(take)]
        covering = [one for one in by if one is not None]
        if len(covering) == len(by):
            return number, covering[0]
        for kind, glob in _patterns(take):
            before.add(number, kind, glob)
    return None


def _patterns(take: Take) -> list[tuple[str, str]]:
    """All that it takes, by kind; every certificate has a key."""
    either = [*(("keys", glob) for glob in take.keys), *(("names", glob) for glob in take.names)]
    return either or [("keys", "*")]


class _Before:
    """The globs of takes, by what they begin with: a wide one begins as the narrow one does."""

    def __init__(self) -> None:
        self._all: int | None = None
        self._globs: dict[tuple[str, str], dict[str, int]] = {}

    def add(self, number: int, kind: str, glob: str) -> None:
        """Note what the take with this number has."""
        if self._all is None and (kind, glob) == ("keys", "*"):
            self._all = number
        self._globs.setdefault((kind, _begin(glob)), {}).setdefault(glob, number)

    def covering(self, kind: str, glob: str) -> int | None:
        """A take that has all that fits this glob."""
        if self._all is not None:
            return self._all
        for length in range(len(glob) + 1):
            for wide, number in self._globs.get((kind, glob[:length]), {}).items():
                if covers(wide, glob):
                    return number
        return None


def _begin(glob: str) -> str:
    return "".join(takewhile(lambda letter: letter not in GLOB, glob))


def covers(wide: str, narrow: str) -> bool:
    """Whether all that fits the narrow glob fits the wide one.

    Where it says so, it is so; it misses some of what only a comparison of the two languages would find.
    """
    if wide == narrow:
        return True
    begin, end = _begin(wide), _END.sub("", wide)
    if begin == wide or not narrow.startswith(begin) or not narrow.endswith(end):
        return False
    wides, narrows = _parts(wide), _parts(narrow)
    # reached: how many parts of the wide one may be used up, once so many of the narrow one are.
    reached = _past_stars({0}, wides)
    for part in narrows:
        reached = _past_stars({after for at in reached for after in _steps(wides, at, part)}, wides)
    return len(wides) in reached


def _past_stars(reached: set[int], wides: Sequence[str]) -> set[int]:
    found = set(reached)
    for at in sorted(reached):
        while at < len(wides) and wides[at] == "*":
            at += 1  # noqa: PLW2901 -- on to the end of the stars
            found.add(at)
    return found


def _steps(wides: Sequence[str], at: int, part: str) -> tuple[int, ...]:
    if at == len(wides):
        return ()
    if wides[at] == "*":
        return (at,)
    return (at + 1,) if part != "*" and _has(wides[at], part) else ()


def _has(wide: str, narrow: str) -> bool:
    """Whether one letter of the wide glob may be whatever one letter of the narrow glob may be."""
    if wide in ("?", narrow):
        return True
    return len(narrow) == 1 and narrow != "?" and fnmatchcase(narrow, wide)


def _parts(glob: str) -> list[str]:
    return re.findall(r"\[!?\]?[^\]]*\]|.", glob, re.DOTALL)
