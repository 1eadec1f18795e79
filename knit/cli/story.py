"""The story of one certificate, as `knit show` tells it: renewals and edits, the newest first, at most a screenful."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from knit.cli.listed import cut
from knit.cli.output import clean, for_people, height, instant, width
from knit.core.events import Event, Kind
from knit.core.imported import IMPORTED
from knit.core.words import in_days

if TYPE_CHECKING:
    from knit.core.model.listing import Try

STEPS: Final[dict[str, str]] = {
    Kind.KEY_STAGED: "key staged",
    Kind.ORDER_PLACED: "ordered",
    Kind.ORDER_FINALIZING: "finalized",
    Kind.CERTIFICATE_ISSUED: "issued",
    Kind.CERTIFICATE_IMPORTED: "imported",
    Kind.CERTIFICATE_PUBLISHING: "publishing",
    Kind.CERTIFICATE_PUBLISHED: "published",
}
"""What a renewal gets done, in the order in which it does."""

_INTERVAL = re.compile(r"(?:(\d+) days?)? ?(?:(\d+):(\d\d):(\d\d))?")
"""As PostgreSQL writes one that knit has set, with any of its parts left out."""

LEAST = 5
"""Lines of the story, however much else there is to say."""

Entry = tuple[datetime, list[str]]


def story(tries: Sequence[Try], events: Sequence[Event], used: int) -> list[str]:
    """What fits on the screen below `used` lines, and how much more there is."""
    entries = [_renewal(one, [e for e in events if e.attempt_id == one.id]) for one in tries]
    entries += [_edit(event) for event in events if event.attempt_id is None]
    entries.sort(key=lambda entry: entry[0], reverse=True)
    lines = [line for _, told in entries for line in told]
    room = max(height() - 1 - used, LEAST)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"   … {len(lines) - room + 1} more lines: `--json` tells all"]
    return [cut(line, width()) if for_people() else line for line in lines]


def _renewal(one: Try, events: Sequence[Event]) -> Entry:
    end = f", {one.step} at {instant(one.ended_at)}" if one.ended_at else f", now at {one.step}"
    source = "" if one.directory == IMPORTED else f", from {clean(one.directory)}"
    lines = [f"   {instant(one.started_at)}  {clean(one.reason)}{source}{end}"]
    at = {STEPS[event.kind]: f"{event.at:%H:%M:%S}" for event in events if event.kind in STEPS}
    if at:
        lines.append("      " + ", ".join(f"{step} {time}" for step, time in at.items()))
    lines += _trouble(one, events)
    return one.started_at, lines


def _trouble(one: Try, events: Sequence[Event]) -> Iterator[str]:
    """What it ended with, and what it met before, each once, the newest first."""
    if one.error is not None:
        yield f"      {clean(one.error)}"
    met = [event for event in reversed(events) if event.kind in (Kind.RENEWAL_FAILED, Kind.RENEWAL_POSTPONED)]
    for error, same in groupby(met, lambda event: str(event.detail.get("error"))):
        times = list(same)
        if error != one.error:
            often = f" ({len(times)} times since {instant(times[-1].at)})" if len(times) > 1 else ""
            yield f"      {instant(times[0].at)}  failed: {clean(error)}{often}"


def _edit(event: Event) -> Entry:
    lines = [f"   {instant(event.at)}  {clean(event.kind)} by {clean(event.actor)}"]
    if event.kind == Kind.CERTIFICATE_CHANGED:
        for name, change in sorted(event.detail.items()):
            before, after = change if isinstance(change, list) else (None, change)
            shown = _time_shown if name == "renew_before" else _shown
            lines.append(f"      {clean(name)}: {shown(before)} -> {shown(after)}")
    return event.at, lines


def _shown(value: object) -> str:
    return "-" if value in (None, "") else str(value).lower() if isinstance(value, bool) else clean(str(value))


def _time_shown(value: object) -> str:
    found = _INTERVAL.fullmatch(str(value)) if value else None
    if found is None:
        return _shown(value)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return in_days(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))
