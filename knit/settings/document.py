"""Configuration files in TOML: what is wrong in one is told with the file, the line and what is allowed.

A parser takes a value as TOML gives it and returns what is meant, or raises ValueError whose text says what is allowed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from knit.core.near import near
from knit.errors import Misconfigured

Path = tuple[str | int, ...]
"""The keys that lead to a value, from the top of the file; a number, counted from 0, in a list."""

AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class TableKey:
    """One key of a table. `default` is its value where it is left out, `otherwise` what that is in words.

    `needed`: it cannot be left out.
    """

    name: str
    parser: Callable[[Any], Any]
    help: str
    default: Any = None
    otherwise: str = "unset"
    needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file. `name` is what errors call it: its path, or the variable that holds its text."""

    name: str
    text: str = field(repr=False)
    content: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, name: str, text: str) -> Document:
        """Raises Misconfigured for what is no TOML."""
        try:
            return cls(name=name, text=text, content=tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            found = AT.search(str(error))
            line = (found and found[1]) or text.count("\n") + 1
            raise Misconfigured(f"{name}, line {line}: {AT.sub('', str(error))}") from None
        except (ValueError, RecursionError):
            # A number too long to be one, and tables in tables beyond any use.
            raise Misconfigured(f"{name}: a number is too long, or values are nested too deep") from None

    def wrong(self, path: Path, said: str) -> Misconfigured:
        """The error about what lies there."""
        return Misconfigured(f"{self.name}, line {self._line(path)}: {said}")

    def values(self, path: Path, table: Mapping[str, Any], keys: Sequence[TableKey]) -> dict[str, Any]:
        """What is meant by a table that may have these keys and no others. Raises Misconfigured."""
        known = {key.name: key for key in keys}
        for name in table:
            if name not in known:
                raise self.unknown((*path, name), known)
        return {key.name: self._value(path, table, key) for key in keys}

    def unknown(self, path: Path, known: Mapping[str, object]) -> Misconfigured:
        """The error about a key that nobody reads: most likely a typing error."""
        meant = near(str(path[-1]), known)
        hint = f"did you mean {' or '.join(meant)}?" if meant else f"allowed: {', '.join(known)}"
        return self.wrong(path, f"{called(path)}: no such key ({hint})")

    def _value(self, path: Path, table: Mapping[str, Any], key: TableKey) -> Any:
        if key.name not in table:
            if key.needed:
                raise self.wrong(path, f"{called(path)}: {key.name} is missing")
            return key.default
        try:
            return key.parser(table[key.name])
        except ValueError as error:
            shown = _shown(table[key.name])
            raise self.wrong((*path, key.name), f"{key.name} = {shown}: must be {error}") from None

    def _line(self, path: Path) -> int:
        """Where it begins. tomllib does not say, so it is what the shortest beginning of the file has that has it.

        A beginning that ends inside of a value is no TOML.
        """
        lines = self.text.splitlines(keepends=True)
        without, with_it = 0, len(lines)
        while True:
            middle = (without + with_it) // 2
            ends = (*range(middle, with_it), *range(middle - 1, without, -1))
            end, found = next(_parsed(lines, (end for end in ends if end > without)), (0, None))
            if found is None:
                return without + 1
            if _has(found, path):
                with_it = end
            else:
                without = end


def called(path: Path) -> str:
    """What people call it: `issuer.main`, or `take 2` for the second of a list."""
    return "".join(f" {one + 1}" if isinstance(one, int) else f".{one}" for one in path).removeprefix(".")


def _parsed(lines: Sequence[str], ends: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """The beginnings that are TOML, of those that end after so many lines."""
    for end in ends:
        with suppress(tomllib.TOMLDecodeError):
            yield end, tomllib.loads("".join(lines[:end]))


def _has(content: Any, path: Path) -> bool:
    for name in path:
        known = range(len(content)) if isinstance(content, list) else content
        if not isinstance(known, Mapping | range) or name not in known:
            return False
        content = content[name]
    return True


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float | bool) else "…"


def text(parser: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Text that this parser takes."""

    def parse(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("text")  # noqa: TRY004 -- every wrong value is told in the same way
        return parser(value)

    return parse


def texts(parser: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A list of texts, each of which this parser takes."""
    each = text(parser)

    def parse(value: object) -> Any:
        if not isinstance(value, list):
            raise ValueError("a list of texts")  # noqa: TRY004 -- as above
        return tuple(map(each, value))

    return parse


def integer(low: int, high: int) -> Callable[[Any], int]:
    """A whole number from low to high."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 -- as above
    return value
