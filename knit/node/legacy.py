"""The state as knit kept it before the state log: `state.json`, and `journal.json` while files were being moved."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from knit.core.outputs import files_at
from knit.core.placement import Installed
from knit.node.moves import Move
from knit.node.records import Records, pack, to_fields
from knit.node.state import StateFolder

log = logging.getLogger(__name__)

T = TypeVar("T")

NAMES = ("state.json", "journal.json")


@dataclass(slots=True, kw_only=True)
class LegacyState:
    """What those files said."""

    installed: Records = field(default_factory=Records)
    revision: int | None = None
    reload_owed: bool = False
    moves: dict[str, Move] = field(default_factory=dict)


def read(folder: StateFolder) -> LegacyState | None:
    """What they say; None when neither is there. What is damaged is left out: a comparison with the files follows."""
    state, journal = (folder.read(name) for name in NAMES)
    if state is None and journal is None:
        return None
    found = LegacyState() if state is None else _parsed(state, _state, _packed) or LegacyState()
    found.moves = {} if journal is None else _parsed(journal, _moves) or {}
    return found


def _parsed(raw: bytes, parse: Callable[[Any], T], hook: Callable[[dict[str, Any]], object] | None = None) -> T | None:
    try:
        return parse(json.loads(raw, object_hook=hook))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        log.warning("node state is damaged, comparing with the files instead")
        return None


def _packed(document: dict[str, Any]) -> object:
    """Each record as soon as it is parsed: never are there ten thousand objects."""
    return pack(_record(document)) if "not_before" in document else document


def _state(document: Mapping[str, Any]) -> LegacyState:
    installed = document["installed"]
    if not all(isinstance(record, bytes) for record in installed.values()):
        raise ValueError("a record without its dates")
    revision = document["revision"]
    return LegacyState(
        installed=Records(installed),
        revision=None if revision is None else int(revision),
        reload_owed=bool(document["reload_owed"]),
    )


def _moves(document: Mapping[str, Any]) -> dict[str, Move]:
    known = document["phase"] == "moving"
    moves = [_move(move) for move in document["moves"]]
    return {move.key: move.found(*(had for had in had_old)) if known else move for move, had_old in moves}


def _move(document: Mapping[str, Any]) -> tuple[Move, list[bool]]:
    key, parts = str(document["key"]), document["parts"]
    fields = to_fields(_record(document["record"]))
    read = Move.from_json(key, [[part["path"], part["sha256"], part["mark"]] for part in parts], fields)
    return read, [bool(part["had_old"]) for part in parts]


def _record(document: Mapping[str, Any]) -> Installed:
    not_before, not_after = (datetime.fromisoformat(document[name]) for name in ("not_before", "not_after"))
    if not_before.tzinfo is None or not_after.tzinfo is None:
        raise ValueError("a time without a zone")
    return Installed(
        sha256=str(document["sha256"]),
        files=files_at(str(document["key_path"]), str(document["cert_path"])),
        cert_id=document["cert_id"],
        generation=document["generation"],
        not_before=not_before,
        not_after=not_after,
    )
