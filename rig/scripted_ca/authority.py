"""The CA as one object: its records, its script, its counters, its clock and its URLs."""

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rig.scripted_ca.book import Book, Nonces
from rig.scripted_ca.hierarchy import Hierarchy
from rig.scripted_ca.http11 import Answer
from rig.scripted_ca.ledger import Ledger
from rig.scripted_ca.script import Faults, Script


@dataclass(slots=True, kw_only=True)
class Authority:
    """Everything a handler may need. Mutable, and touched by one event loop only."""

    base: str
    """Scheme, host and port of every URL that is handed out and of every `url` that is signed."""
    dice: random.Random
    script: Script = field(default_factory=Script)
    book: Book = field(default_factory=Book)
    nonces: Nonces = field(default_factory=Nonces)
    faults: Faults = field(default_factory=Faults)
    ledger: Ledger = field(default_factory=Ledger)
    tree: Hierarchy = field(default_factory=Hierarchy.fresh)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.script.clock_offset_s)

    @property
    def resources(self) -> str:
        """Scheme, host and port of all but the directory."""
        return self.base.replace("127.0.0.1", self.script.other_host or "127.0.0.1")

    def url(self, *parts: str) -> str:
        return "/".join((self.resources, *parts))

    def chance(self, percent: float) -> bool:
        return percent > 0 and self.dice.random() * 100 < percent


def instant(when: datetime) -> str:
    """Give an RFC 3339 instant in UTC, to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def json_answer(value: Any, *headers: tuple[str, str], status: int = 200) -> Answer:
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status=status, body=body, content_type="application/json", headers=headers)
