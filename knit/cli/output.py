"""What commands print: JSON for programs, plain text for pipes, tables and colour for people at a terminal."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, TypeVar

import click

from knit.core import text
from knit.settings.environment import Environment

F = TypeVar("F", bound=Callable[..., Any])
GAP = "  "
BELOW = "    "
LEAST = 10
"""Columns of the narrowest terminal that lines are wrapped for."""

WIDEST = 256
"""Columns that a cell may make the lines of others longer by."""


def json_flag(command: F) -> F:
    """The flag `--json` of a command that prints records."""
    return click.option("--json", "as_records", is_flag=True, help="Print records as JSON.")(command)


def as_json(record: object) -> None:
    """Print a record, or a list of them, as JSON; times as RFC 3339."""
    click.echo(text.json_safe(json.dumps(record, indent=2, default=_plain, ensure_ascii=False)))


def _plain(value: object) -> str:
    assert isinstance(value, datetime)
    return instant(value)


def instant(value: datetime | None) -> str:
    """RFC 3339 in UTC with seconds; `-` for no time."""
    return "-" if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clean(written: str) -> str:
    """The text on one line, control characters escaped: rows may have been written by other software."""
    return text.escaped(written)


def for_people() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def styled(words: str, **style: Any) -> str:
    """With colour, at a terminal whose user has not said NO_COLOR."""
    return click.style(words, **style) if for_people() and "NO_COLOR" not in Environment.of_process() else words


def width() -> int:
    """Columns of the terminal."""
    return max(shutil.get_terminal_size().columns, LEAST)


def height() -> int:
    """Lines of the terminal."""
    return shutil.get_terminal_size().lines


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, two spaces apart. A cell that is very long makes its own line longer, and no other."""
    widths = [max(min(len(cell), WIDEST) for cell in column) for column in zip(*rows, strict=True)]
    return [GAP.join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]


def wrapped(written: str, size: int, indent: str = "") -> list[str]:
    """The text in lines of so many columns, the later ones indented. A word that no line can hold stays whole."""
    wrapper = textwrap.TextWrapper(size, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    return wrapper.wrap(written) or [""]


def fitted(rows: Sequence[Sequence[str]], size: int) -> list[str]:
    """The table in so many columns: long cells go on below their beginning, and nothing of them is left out.

    Where the longest words of all columns do not fit side by side, the last columns go below their rows.
    """
    return [line for lines in _fitted(rows, size) for line in lines]


def _fitted(rows: Sequence[Sequence[str]], size: int) -> list[list[str]]:
    columns = list(zip(*rows, strict=True))
    least = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    spare = size - sum(least) - len(GAP) * (len(least) - 1)
    if spare < 0 and len(columns) > 1:
        above = _fitted([row[:-1] for row in rows], size)
        return [lines + _below(row[-1], size) for lines, row in zip(above, rows, strict=True)]
    widths = []
    for narrow, column in zip(least, columns, strict=True):
        more = min(max(map(len, column)) - narrow, max(spare, 0))
        spare -= more
        widths.append(narrow + more)
    return [_row(row, widths, size) for row in rows]


def _row(row: Sequence[str], widths: Sequence[int], size: int) -> list[str]:
    cells = [wrapped(cell, min(width, size)) for cell, width in zip(row, widths, strict=True)]
    lines = zip_longest(*cells, fillvalue="")
    return [GAP.join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _below(cell: str, size: int) -> list[str]:
    return [] if cell == "-" else [f"{BELOW}{line}" for line in wrapped(cell, size - len(BELOW))]
