"""What is known of each of lego's codes: names and figures, from table.json (made by tests/golden/lego_table.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One code. `required` as in base.Provider; `also` are the other variables with their defaults.

    `knobs` are name and default (seconds) of timeout, interval, ttl, http and pause; `spelled` are the prefixes of
    which the first is the main one; `sequential` providers take one challenge at a time; those that `remember` can
    remove a record only in the process that set it.
    """

    code: str
    name: str
    required: tuple[tuple[tuple[str, ...], ...], ...]
    also: Mapping[str, str | None]
    knobs: Mapping[str, tuple[str, int]]
    aliases: tuple[str, ...]
    spelled: tuple[str, ...]
    sequential: bool
    remembers: bool

    @classmethod
    def from_file(cls, code: str, record: dict[str, Any]) -> Entry:
        """One line of table.json."""
        return cls(
            code=code,
            name=record["name"],
            required=tuple(tuple(tuple(names) for names in wanted) for wanted in record.get("required", ())),
            also=record.get("also", {}),
            knobs={knob: (name, default) for knob, (name, default) in record.get("knobs", {}).items()},
            aliases=tuple(record.get("aliases", ())),
            spelled=tuple(record.get("spelled", ())),
            sequential=record.get("sequential", False),
            remembers=record.get("remembers", False),
        )


@cache
def table() -> Mapping[str, Entry]:
    """Every code, sorted."""
    content = json.loads(files("knit.providers.lego").joinpath("table.json").read_text(encoding="utf-8"))
    return MappingProxyType({code: Entry.from_file(code, record) for code, record in sorted(content.items())})
