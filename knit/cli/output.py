"""What commands print: JSON for programs, plain text for pipes, tables and colour for people at a terminal."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from knit.core import text
from knit.settings.environment import Environment

F = TypeVar("F", bound=Callable[..., Any])
GAP = "  "
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
    return shutil.get_terminal_size().columns


def height() -> int:
    """Lines of the terminal."""
    return shutil.get_terminal_size().lines


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, two spaces apart. A cell that is very long makes its own line longer, and no other."""
    widths = [max(min(len(cell), WIDEST) for cell in column) for column in zip(*rows, strict=True)]
    return [GAP.join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]
