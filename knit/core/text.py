"""Text that comes from outside, before it is kept, logged or shown: nothing in it acts on a terminal or in a log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LONGEST: Final = 2000


def clean(text: str, longest: int = LONGEST) -> str:
    """The text as one line of at most `longest` printable characters; what is left out at the end is marked.

    Control characters, line ends, marks that change the direction of writing, half surrogates and what Unicode does
    not define become blanks, and blanks that follow each other one.
    """
    joined = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * longest]).split())
    whole = len(joined) <= longest and len(text) <= 2 * longest
    return joined if whole else f"{joined[: longest - 1]}…"


def either(words: Iterable[str]) -> str:
    """Two or more words that one is chosen from: `a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}"


def escaped(text: str) -> str:
    """The whole text on one line: what `clean` would leave out is shown by its escape."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def ascii_only(text: str) -> str:
    """The text for whoever cannot keep anything else: the signs that writers like become those that typists have."""
    return text.translate(_TYPED).encode("ascii", "backslashreplace").decode()


def json_safe(document: str) -> str:
    """Serialized JSON, the same to a parser, in which nothing acts on a terminal either."""
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in document)


_TYPED: Final = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "..."})  # noqa: RUF001 -- these very signs


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
