"""Named queries: SQL lives beside its Python, each statement under a line `-- name: words`.

Lists of a record's columns are written as `knit.store.columns` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

Row = dict[str, Any]
"""What a query gives: columns by name."""

NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
LAYOUT = re.compile(r"^ *--.*\n|^ +", re.MULTILINE)
"""What only a reader of the file needs. psycopg parses a long statement anew each time, and layout counts."""

LISTS = ("{issued", "{spec", "{wanted", "{attempt", "{state")


@cache
def queries(subject: str) -> Mapping[str, str]:
    """The statements of `<subject>.sql` in this package by name; read once per process."""
    text = (files("knit.store") / f"{subject}.sql").read_text(encoding="utf-8")
    if any(start in text for start in LISTS):
        # Most commands need no record, and their statements list no columns of one.
        from knit.store.columns import expanded

        text = expanded(text)
    _, *pieces = NAME.split(text)
    statements = (LAYOUT.sub("", piece) for piece in pieces[1::2])
    return MappingProxyType(dict(zip(pieces[::2], statements, strict=True)))
