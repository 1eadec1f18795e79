"""One certificate of the list, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from knit.cli.output import GAP, clean, instant, styled, table, width
from knit.core.imported import IMPORTED, notice_at
from knit.core.records import window
from knit.core.words import in_days

if TYPE_CHECKING:
    from knit.core.model.listing import Listed

COLUMNS = (
    "ID", "ENABLED", "DOMAINS", "PROVIDER", "VALKEY_KEY", "CERT_PATH", "KEY_PATH", "NOT_AFTER", "LAST_RENEWED",
    "LAST_ERROR",
)  # fmt: skip
"""Those of the Go knit, in its order."""

RED, YELLOW = 1 / 6, 1 / 4
"""Shares of a life. Renewal begins with a third left, or half of a short one."""

LEAST = 20
"""Columns that names and state have together, however narrow the terminal is."""

FACTS = ("ID", "CA", "LEFT", "NEXT")
GIVE_WAY = ("CA", "NEXT", "LEFT")
"""What a narrow terminal does without, the first one first."""


def plain(certs: Sequence[Listed]) -> list[str]:
    """The table of the Go knit."""
    return table([COLUMNS, *map(_cells, certs)])


def _cells(cert: Listed) -> tuple[str, ...]:
    return (
        str(cert.id),
        str(cert.enabled).lower(),
        clean(cert.domains),
        clean(cert.provider),
        clean(cert.valkey_key),
        clean(cert.cert_path),
        clean(cert.key_path),
        instant(cert.not_after),
        instant(cert.last_renewed),
        clean(cert.last_error or "-"),
    )


def wide(certs: Sequence[Listed], now: datetime) -> list[str]:
    """Everything, however long the lines get: the columns of the Go knit, and what follows from them."""
    more = ("CA", "LEFT", "NEXT", "STATE")
    rows = [(*_cells(cert), authority(cert), left(cert, now), instant(_next(cert)), state(cert, now)) for cert in certs]
    return table([(*COLUMNS, *more), *rows])


def for_a_person(certs: Sequence[Listed], now: datetime) -> list[str]:
    """One line for each certificate, in the width there is: names and state give way, then other columns."""
    cells = {
        "ID": [str(cert.id) for cert in certs],
        "CA": [authority(cert) for cert in certs],
        "LEFT": [left(cert, now) for cert in certs],
        "NEXT": [_when(_next(cert), now) for cert in certs],
    }
    shown, room = _fitting({name: max(map(len, (name, *column))) for name, column in cells.items()})
    states = [state(cert, now) for cert in certs]
    for_names = room - min(max(map(len, states)), room * 2 // 5)
    cells["NAMES"] = [_names(cert, for_names) for cert in certs]
    cells["STATE"] = [cut(text, room - for_names) for text in states]
    heads = ("ID", "NAMES", *shown[1:], "STATE")
    head, *lines = table([heads, *zip(*(cells[name] for name in heads), strict=True)])
    return [styled(head, bold=True), *(_tinted(line, cert, now) for line, cert in zip(lines, certs, strict=True))]


def _fitting(sizes: Mapping[str, int]) -> tuple[list[str], int]:
    """The columns that there is room for, and the room that they leave for names and state."""
    shown = list(FACTS)
    room = width() - sum(sizes[name] + len(GAP) for name in shown) - len(GAP)
    for gone in GIVE_WAY:
        if room >= LEAST:
            break
        shown.remove(gone)
        room += sizes[gone] + len(GAP)
    return shown, max(room, LEAST)


def cut(text: str, size: int) -> str:
    """The text, or its beginning where it is too long."""
    return text if len(text) <= size else f"{text[: size - 1]}…"


def _names(cert: Listed, size: int) -> str:
    first, *others = cert.names or ["-"]
    every = clean(", ".join((first, *others)))
    more = f" +{len(others)}" if others else ""
    return every if len(every) <= size else f"{cut(clean(first), size - len(more))}{more}"


def authority(cert: Listed) -> str:
    """The host of the directory that the published certificate came from, without what every directory has."""
    host = clean((cert.directory or "").removeprefix("https://").partition("/")[0])
    return host.removeprefix("acme-v02.api.").removeprefix("acme-").replace("-v02.api.", ".") or "-"


def left(cert: Listed, now: datetime) -> str:
    """How much life is left."""
    return "-" if cert.not_after is None else _rough(cert.not_after - now)


def state(cert: Listed, now: datetime) -> str:
    """How it is, in a word or with the error that keeps it from being as wanted."""
    return f"revoked; {_state(cert, now)}" if cert.revoked else _state(cert, now)


def _state(cert: Listed, now: datetime) -> str:
    if not cert.enabled:
        return "disabled"
    if cert.step is not None and not cert.failing:
        return f"in progress: {cert.step}"
    if cert.failing:
        return clean(f"failing: {cert.last_error or 'see the log'}")
    return _calm(cert, now)


def _calm(cert: Listed, now: datetime) -> str:
    """Nothing is wrong with it, and nobody is at it."""
    if cert.waits_for is not None:
        return clean(f"waiting: {cert.waits_for}")
    if not cert.adopted:
        return "new: the next pass looks at it"
    if cert.imported:
        return _imported(cert, now)
    if cert.published_at is None:
        return "waiting for its first certificate"
    return "due" if is_due(cert, now) else "ok"


def _imported(cert: Listed, now: datetime) -> str:
    at = notice(cert)
    if at is None or cert.not_after is None or cert.published_at is None:
        return "waiting for its import"
    return "ok: imported" if now < at else "expires: import the next one" if now < cert.not_after else "expired"


def notice(cert: Listed) -> datetime | None:
    """From when on whoever has brought an imported certificate is told to bring the next; None before its first."""
    if cert.not_before is None or cert.not_after is None or cert.directory != IMPORTED:
        return None
    return notice_at(cert.not_before, cert.not_after, cert.renew_before)


def is_due(cert: Listed, now: datetime) -> bool:
    """Whether the next pass has something to do about it."""
    if cert.imported:
        return False
    at = _next(cert)
    return cert.enabled and not cert.left_out and (at is None or at <= now) and not _fresh(cert)


def _fresh(cert: Listed) -> bool:
    """Whether it has just been published: the next pass only works out when to look again."""
    return cert.published_at is not None and cert.check_at is not None and cert.check_at <= cert.published_at


def _next(cert: Listed) -> datetime | None:
    """When it is looked at again; None: at the next pass, or never while it is disabled."""
    if not cert.enabled or (cert.retry_at is None and not cert.failing):
        return cert.check_at if cert.enabled and not _fresh(cert) else None
    return cert.retry_at


def _when(at: datetime | None, now: datetime) -> str:
    return "-" if at is None else "now" if at <= now else f"in {_rough(at - now)}"


def _tinted(line: str, cert: Listed, now: datetime) -> str:
    if not cert.enabled:
        return styled(line, dim=True)
    colour = "red" if cert.failing or cert.revoked else urgency(cert, now)
    return line if colour is None else styled(line, fg=colour)


def urgency(cert: Listed, now: datetime) -> str | None:
    """The colour of what is left of its life, by its share: six days are plenty for a certificate that lives six."""
    if cert.not_after is None:
        return None
    life = timedelta(days=90) if cert.not_before is None else cert.not_after - cert.not_before
    share = (cert.not_after - now) / max(life, timedelta(seconds=1))
    return "red" if share < RED else "yellow" if share < YELLOW else None


def matches(cert: Listed, wanted: Sequence[str]) -> bool:
    """Whether one of its names is one of these, below one of these, or as one of these patterns says."""
    return not wanted or any(
        name == word or name.endswith(f".{word}") or fnmatchcase(name, word)
        for name in cert.names
        for word in (text.lower().removesuffix(".") for text in wanted)
    )


def block(cert: Listed, now: datetime) -> list[str]:
    """One certificate: what is wanted, and how it is."""
    facts = [
        ("state", state(cert, now)),
        ("issuer", clean(cert.issuer) or None),
        ("CA", authority(cert)),
        ("provider", clean(cert.provider)),
        ("valkey key", clean(cert.valkey_key)),
        ("chain", clean(cert.cert_path)),
        ("key", clean(cert.key_path) + (f"  ({clean(cert.key_type)})" if cert.key_type else "")),
        ("key age", _key_age(cert, now)),
        ("profile", None if cert.profile is None else clean(cert.profile)),
        ("by", None if cert.preferred_chain is None else f"{clean(cert.preferred_chain)}, where there is a choice"),
        ("renew", None if cert.renew_before is None else f"with {in_days(cert.renew_before)} left"),
        ("warns", instant(notice(cert)) if cert.imported else None),
        ("CA asks", _suggestion(cert)),
        ("explained", None if cert.explanation_url is None else clean(cert.explanation_url)),
        ("expires", _expiry(cert, now)),
        ("renewed", instant(cert.last_renewed)),
        ("working on", cert.step),
        ("next look", None if cert.check_at is None or _fresh(cert) else instant(cert.check_at)),
        ("next try", None if cert.retry_at is None else instant(cert.retry_at)),
        ("waits for", None if cert.waits_for is None else clean(cert.waits_for)),
        ("error", None if cert.last_error is None else styled(clean(cert.last_error), fg="red")),
    ]
    shown = ", ".join(map(clean, cert.names))
    head = f"{cert.id}  {styled(shown, bold=True)}{'' if cert.enabled else '  (disabled)'}"
    return [head, *(f"   {name:<10} {value}" for name, value in facts if value is not None)]


def _key_age(cert: Listed, now: datetime) -> str | None:
    """Of a key that is used again; any other is as old as its certificate."""
    if not cert.reuse_key:
        return None
    kept = "kept at each renewal"
    return kept if cert.key_since is None else f"{(now - cert.key_since).days} days, {kept}"


def _suggestion(cert: Listed) -> str | None:
    """When the CA would have it renewed, and when it is."""
    suggested = window(cert)
    if suggested is None:
        return None
    start, end, at, asked = map(instant, (*suggested, cert.suggested_at, cert.window_checked_at))
    return f"to renew it from {start} to {end}: {at} it is (asked {asked})"


def _expiry(cert: Listed, now: datetime) -> str:
    if cert.not_after is None:
        return "-"
    text = f"{instant(cert.not_after)}  ({'in ' if cert.not_after > now else ''}{left(cert, now)})"
    colour = urgency(cert, now)
    return text if colour is None else styled(text, fg=colour)


def _rough(left: timedelta) -> str:
    if left <= timedelta(0):
        return "expired"
    return f"{left.days} days" if left.days > 1 else f"{left.total_seconds() / 3600:.0f} hours"
