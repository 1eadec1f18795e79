"""How `knit config check` explains a node file to people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from knit.cli.output import clean, instant, styled, table
from knit.core.model.places import Content, FileSpec, NodeFile, Place, Take
from knit.core.outputs import CHAIN_MODE, KEY_MODE
from knit.core.windows import opening, written

PUBLIC = frozenset({Content.FULLCHAIN, Content.CERT, Content.CHAIN})


def explained(node: NodeFile, *, origin: str, roots: Sequence[str] | None, now: datetime) -> Iterator[str]:
    """Which certificates go where, and for each place what is written, run, looked at and waited for."""
    yield clean(f"node {node.name}, from {origin}:")
    yield from table([(f"  take {number}", _taken(take)) for number, take in enumerate(node.takes, 1)])
    if node.takes and any(take.keys or take.names for take in node.takes[-1:]):
        yield "  all others are for other nodes"
    for place in node.places.values():
        preset = f", preset {place.preset}" if place.preset else ""
        yield styled(f"  place {place.name}{preset}", bold=True)
        if not node.takes:
            yield "    takes all certificates"
        yield from table([(f"    {what}", clean(said)) for what, said in _said(place, roots, now)])


def _taken(take: Take) -> str:
    kinds = (("keys", take.keys), ("names", take.names))
    globs = " or ".join(f"{kind} {' '.join(found)}" for kind, found in kinds if found)
    return clean(f"{globs or 'all others'} -> {take.place}")


def _said(place: Place, roots: Sequence[str] | None, now: datetime) -> Iterator[tuple[str, str]]:
    for one in place.files:
        yield one.content, f"{one.path}  {_rights(one)}"
    if not place.files:
        yield "files", f"chain and key at the paths in the value, {_below(roots)}"
    if place.layout != "pair":
        yield "layout", "flip: one symbolic link for all files"
    if place.create_dirs:
        yield "folders", "are made where they are missing"
    yield "check", place.check or "nothing to run"
    yield "reload", place.reload or "nothing to run"
    probe = place.probe
    yield "probe", "nowhere" if probe is None else " ".join(filter(None, (probe.connect, probe.starttls)))
    yield "window", _window(place, now)
    yield "removed", "files are kept"


def _rights(one: FileSpec) -> str:
    usual = CHAIN_MODE if one.content in PUBLIC else KEY_MODE
    mode = f"mode {one.mode:04o}" if one.mode is not None else f"mode as it is, or {usual:04o}"
    accounts = [f"{kind} {name}" for kind, name in (("owner", one.owner), ("group", one.group)) if name is not None]
    password = [f"password in {one.password_file}"] if one.password_file else []
    return ", ".join((mode, *(accounts or ["owner and group as they are"]), *password))


def _below(roots: Sequence[str] | None) -> str:
    return "anywhere (KNIT_WATCH_ROOTS is not set)" if roots is None else f"below {', '.join(roots)}"


def _window(place: Place, now: datetime) -> str:
    if place.window is None:
        return "reloads at any time"
    begin, end = opening(place.window, now)
    when = f"open until {instant(end)}" if begin <= now else f"opens {instant(begin)}, sooner where life is short"
    return f"{written(place.window)}: {when}"
