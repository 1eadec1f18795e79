"""Makes knit/providers/lego/table.json from facts about lego: `python -m tests.golden.lego_table FACTS > …/table.json`.

FACTS is the file of facts that is kept beside this repository (../shared/facts/lego-providers.json): for each of
lego's codes the variables and defaults of its Go code. Taken over are names and figures only. To bring the table to a
later lego, write those facts anew from lego's `providers/dns/*/*.toml` and `*.go`, then run this.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

KNOBS = {
    "timeout": "propagation_timeout",
    "interval": "polling_interval",
    "ttl": "ttl",
    "http": "http_timeout",
    "pause": "sequence_interval",
}


LATER = Path(__file__).with_name("lego-later.json")
"""Codes that a later lego has, in the same form."""


def table(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One compact record per code, sorted; empty members are left out."""
    later = json.loads(LATER.read_text(encoding="utf-8"))
    entries = {entry["code"]: entry for entry in (*facts["providers"], *later["providers"])}
    return {code: _compact(entry) for code, entry in sorted(entries.items())}


def _compact(entry: dict[str, Any]) -> dict[str, Any]:
    needed = {name for wanted in entry["required"] for names in wanted for name in names}
    also = {name: None for name in entry["credentials"] if name not in needed}
    also |= {name: facts["default"] for name, facts in entry["optional"].items() if name not in needed}
    alternatives = {json.dumps(wanted): wanted for wanted in entry["required"]}
    record = {
        "name": entry["name"],
        "aliases": entry["aliases"],
        "required": list(alternatives.values()),
        "also": {name: _default(default) for name, default in also.items()},
        "knobs": {knob: [entry[key]["env"], entry[key]["default"]] for knob, key in KNOBS.items() if entry.get(key)},
        "spelled": list((entry.get("alt_prefix") or {}).values()),
        "sequential": entry["sequential"],
        "remembers": entry["cleanup_needs_record_id_from_present"],
    }
    return {key: value for key, value in record.items() if value}


def _default(value: object) -> str | None:
    return None if value is None or value == "''" else str(value)


def text(facts: dict[str, Any]) -> str:
    """The file: one line per code."""
    lines = (f"{json.dumps(code)}: {json.dumps(entry, ensure_ascii=False)}" for code, entry in table(facts).items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(text(json.loads(Path(sys.argv[1]).read_text())))
