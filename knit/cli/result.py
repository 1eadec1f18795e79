"""How the renewal of one certificate ended, in words and as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.output import as_json, clean, instant
from knit.core import text
from knit.core.events import KEPT

if TYPE_CHECKING:
    from knit.core.model.listing import Listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How it ended. `until` is the next try, or when it is due; `more` is for programs."""

    word: str
    not_after: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the exit code says so."""
        return self.word in {"failed", "skipped", "not done", "not served"}


def report(result: Result, cert: Listed, *, as_records: bool) -> int:
    """Print it, and give the exit code."""
    names = cert.names
    if as_records:
        times = {
            "not_after": result.not_after,
            "until": result.until,
            "error": result.error and text.clean(result.error),
        }
        as_json({"result": result.word.replace(" ", "_"), "id": cert.id, "domains": names, **times, **result.more})
    else:
        click.echo(f"certificate {cert.id} ({clean(', '.join(names))}): {_sentence(result, cert)}", err=result.failed)
    return FAILED if result.failed else DONE


def _sentence(result: Result, cert: Listed) -> str:
    said, kept = result.error or "see the log", "" if cert.published_at is None else f"; {KEPT}"
    sentences = {
        "published": f"published, valid until {instant(result.not_after)}",
        "served": f"served by every node that takes it, valid until {instant(result.not_after)}",
        "not served": f"not served everywhere: {clean(said)}",
        "queued": clean(result.error or "queued for the workers"),
        "not due": f"not due before {instant(result.until)}; --force renews it now",
        "not done": f"not done: {clean(said)}{kept}",
        "failed": f"failed: {clean(said)}{kept}; {_again(result.until)}",
    }
    return sentences.get(result.word) or clean(result.error or result.word)


def _again(until: datetime | None) -> str:
    return "no next try before something changes" if until is None else f"next try {instant(until)}"
