"""Which known words a mistyped one may mean: what a slip of the finger makes of them, not whatever looks alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST = 3
SHORT, BEGINNING = 6, 3


def near(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known words that are nearest to this one, at most three; none where all are far, or too many are near.

    Near is a word with one or two letters wrong, left out, doubled or exchanged, and else one that begins like this
    one, or that has all of its parts; where those are too many, those alone that begin like it.
    """
    words = sorted(set(known))
    slips = {one: _slips(word, one) for one in words if abs(len(one) - len(word)) < BEGINNING}
    fewest = min(slips.values(), default=len(word))
    if fewest <= (1 if len(word) < SHORT else 2):
        return tuple(one for one in words if slips.get(one) == fewest)[:MOST]
    begun = tuple(one for one in words if _begins(word, one))
    alike = tuple(one for one in words if one in begun or _parts(word) <= _parts(one))
    return next((found for found in (alike, begun) if len(found) <= MOST), ())


def _begins(word: str, known: str) -> bool:
    return len(word) >= BEGINNING and known.startswith(word)


def _parts(word: str) -> frozenset[str]:
    return frozenset(re.split("[-_]", word))


def _slips(one: str, other: str) -> int:
    """How many letters are wrong, left out, added, or exchanged with their neighbour."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            least = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                least = min(least, rows[-2][j - 2] + 1)
            row.append(least)
        rows.append(row)
    return rows[-1][-1]
